/**
 * Keeps SIGUSR1 from opening the inspector of Node, a port with full control over the process. A listener replaces the
 * default action. Node 20 has no `--disable-sigusr1`. Programs import this module first, because modules run in the
 * order of their imports.
 */
process.on('SIGUSR1', () => {})
