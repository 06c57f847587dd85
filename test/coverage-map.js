/**
 * The tests that coverage is not measured for, because they add none. They start many programs, and a measured program
 * takes twice the time. tap also starts these tests before the others, which is good: they are the longest.
 */
const unmeasured = /^test\/(deploy|faults|fuzz)\/|^test\/e2e\/(?!command-line|crash|process|terminal)/

/** tap calls this for each test file: null switches coverage off, and an empty list covers all files. */
export default file => unmeasured.test(file) ? null : []
