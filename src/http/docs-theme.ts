/** The style and the script that this service adds to Swagger UI. Its policy allows no inline ones. */

/**
 * All problems have the same form, and up to ten of them follow each response. Each shows its codes and the names of
 * its headers only. The forms are in the list of schemas.
 */
const style = `
.responses-table:not(.live-responses-table) tr.response[data-code]:not([data-code^="2"]) :is(.response-controls, .model-example, .headers__title, thead) { display: none }
.responses-table:not(.live-responses-table) tr.response[data-code]:not([data-code^="2"]) .headers tr { display: inline-block; margin-right: 1em }
.responses-table:not(.live-responses-table) tr.response[data-code]:not([data-code^="2"]) .headers td:not(:first-child) { display: none }
.swagger-ui .responses-table tr.response .headers td { padding: 0 1em 0 0 }
.swagger-ui .info table { display: block; overflow-x: auto; font-size: 12px }
html.dark-mode body { background: #1c2022 }
.swagger-ui .info table td { padding: 1px 1em 1px 0 }
`

/** Swagger UI has a dark form, but no way to select it without its top bar. */
const script = `
const viewport = document.createElement('meta')
viewport.name = 'viewport'
viewport.content = 'width=device-width, initial-scale=1'
document.head.append(viewport)
const dark = matchMedia('(prefers-color-scheme: dark)')
const select = () => { document.documentElement.classList.toggle('dark-mode', dark.matches) }
dark.addEventListener('change', select)
select()
`

/** The theme of Swagger UI. */
export const docsTheme = {
  title: 'cos-inventory-proxy',
  css: [{ filename: 'docs.css', content: style }],
  js: [{ filename: 'docs.js', content: script }]
}
