// Marks a part of a page as stale when the server does not answer the part's request, which is sent every second. An answer replaces
// the element together with the mark.
for (const event of ['htmx:error', 'htmx:response:error']) {
  document.addEventListener(event, ({ target }) => target.closest?.('[data-follows]')?.setAttribute('data-stale', ''))
}
