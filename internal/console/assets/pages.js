// Says when what a page shows has become old, because the server does not answer what the page asks every second. An answer
// puts a new element in the old one's place, which knows nothing of that.
for (const sign of ['htmx:error', 'htmx:response:error']) {
  document.addEventListener(sign, ({ target }) => target.closest?.('[data-follows]')?.setAttribute('data-stale', ''))
}
