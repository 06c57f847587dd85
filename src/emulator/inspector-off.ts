/**
 * Keeps SIGUSR1 from opening Node's inspector, a port with full control over the process: a listener replaces what Node
 * does by default. The program imports this module before all others, because modules run in the order of their
 * imports.
 */
process.on('SIGUSR1', () => {})
