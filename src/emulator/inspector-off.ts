/**
 * Keeps SIGUSR1 from opening Node's inspector, a port with full control over the process. A listener replaces the
 * default action. The program imports this module first, because modules run in the order of their imports.
 */
process.on('SIGUSR1', () => {})
