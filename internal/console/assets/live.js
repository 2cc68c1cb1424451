// The charts of the page Live: the samples of the last ten minutes, then one a second, from /console/live/events.
'use strict'
{
  const keep = 600
  // The figures of a sample after its time, in the order of the server (figures.go).
  const names = ['orders', 'answered', 'conflict', 'refused', 'limited', 'failed', 'batch', 'p50', 'p95', 'p99',
    'paid', 'declined', 'unanswered', 'lag', 'overdue', 'open', 'sockets', 'streams']
  const colours = ['#2f8fd8', '#d9822b', '#9467bd', '#c52f8f', '#d62728'] // as console.css has them
  const charts = [
    { title: 'Orders per second', lines: { orders: 'created' } },
    { title: 'Responses per second', lines: { answered: '2xx', conflict: '409', refused: 'other 4xx', limited: '429', failed: '5xx' } },
    { title: 'Orders per batch', lines: { batch: 'mean' } },
    { title: 'Latency of POST /orders', unit: ' ms', lines: { p50: 'p50', p95: 'p95', p99: 'p99' } },
    { title: 'Payments per second', lines: { paid: 'charged', declined: 'declined', unanswered: 'no answer' } },
    { title: 'Queue lag', unit: ' ms', lines: { lag: 'until claimed, p95', overdue: 'overdue' } },
    { title: 'Unfinished orders', lines: { open: 'pending or processing' } },
    { title: 'Connections', lines: { sockets: 'WebSockets', streams: 'event streams' } },
  ]
  const sparse = new Set(['open', 'overdue']) // sampled every ten seconds: their points are connected
  const data = [[], ...names.map(() => [])]
  const container = document.getElementById('charts')
  const state = document.getElementById('live-state')
  const setState = (kind, text, link) => {
    if (state.dataset.state === kind && state.textContent === text) return
    state.dataset.state = kind
    state.textContent = text
    if (link) state.append(' ', Object.assign(document.createElement('a'), { href: link, textContent: 'Log in again' }))
  }
  const short = (n, unit) => n == null ? '–' : (n >= 100 ? Math.round(n).toLocaleString('en') : String(Math.round(n * 10) / 10)) + (unit ?? '')

  const compact = new Intl.NumberFormat('en', { notation: 'compact' }) // 20K, where 20,000 does not fit

  // timeSpan is the time of the charts: ten minutes, or less in the server's first ten minutes, so that its first minute fills them.
  const timeSpan = (_, first, last) => [Math.max(last - keep, Math.min(first, last - 60)), last]
  const clock = (_, ticks, __, ___, step) => ticks.map((at) => {
    const time = new Date(at * 1000).toTimeString()
    return time.slice(0, step < 60 ? 8 : 5)
  })

  // draw creates the charts in the colours of the current theme.
  const draw = () => {
    const style = getComputedStyle(document.body)
    const text = style.getPropertyValue('--pico-muted-color').trim() || '#777'
    const grid = style.getPropertyValue('--pico-muted-border-color').trim() || '#ccc'
    for (const chart of charts) {
      chart.plot?.destroy()
      const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } }
      chart.plot = new uPlot({
        width: Math.max(chart.place.clientWidth, 100), height: 150,
        legend: { show: false }, cursor: { show: false },
        scales: { x: { range: timeSpan }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [{ ...axis, size: 30, space: 70, incrs: [10, 20, 30, 60, 120, 300], values: clock }, { ...axis, size: 52, values: (_, ticks) => ticks.map((n) => n < 10000 ? short(n) : compact.format(n)) }],
        series: [{}, ...Object.keys(chart.lines).map((name, i) => ({ stroke: colours[i], width: 1.5, spanGaps: sparse.has(name), points: { show: false } }))],
      }, columns(chart), chart.place)
    }
  }
  const columns = (chart) => [data[0], ...Object.keys(chart.lines).map((name) => data[1 + names.indexOf(name)])]

  for (const chart of charts) {
    const figure = document.createElement('figure')
    const caption = document.createElement('figcaption')
    caption.append(Object.assign(document.createElement('b'), { textContent: chart.title }))
    chart.keys = Object.values(chart.lines).map((label, i) => {
      const key = Object.assign(document.createElement('span'), { className: 'key c' + i, textContent: label })
      caption.append(key)
      return key
    })
    chart.place = Object.assign(document.createElement('div'), { className: 'plot', ariaHidden: 'true' })
    figure.append(caption, chart.place)
    container.append(figure)
  }
  draw()
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw)
  new ResizeObserver(() => {
    for (const { plot, place } of charts) {
      if (place.clientWidth > 0 && place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: 150 })
    }
  }).observe(container)

  // show appends samples, drops those older than ten minutes, and updates the charts.
  const show = (samples) => {
    for (const sample of samples) {
      if (sample[0] <= data[0].at(-1)) continue // already shown: the stream was reopened
      sample.forEach((value, i) => data[i].push(value))
    }
    for (const column of data) column.splice(0, column.length - keep)
    for (const chart of charts) {
      const shown = columns(chart)
      chart.plot.setData(shown)
      Object.values(chart.lines).forEach((label, i) => {
        const last = sparse.has(Object.keys(chart.lines)[i]) ? shown[i + 1].findLast((n) => n != null) : shown[i + 1].at(-1)
        chart.keys[i].textContent = label + ' ' + short(last, chart.unit)
      })
    }
    if (data[0].length === 0) setState('empty', 'The server has just started. The first figures follow within a second.')
    else setState('live', 'Live: one sample per second, of this process.')
  }

  // listen opens the stream. The browser reopens it by itself, except after an error response. A page in the background closes its
  // stream: browsers open at most six connections to a server, and background pages would occupy them all.
  let stream = null
  const listen = () => {
    stream?.close()
    stream = null
    if (document.hidden) return
    stream = new EventSource('/console/live/events')
    stream.onmessage = (message) => show(JSON.parse(message.data))
    stream.onerror = () => {
      setState('disconnected', 'Disconnected. Reconnecting…')
      if (stream?.readyState !== EventSource.CLOSED) return
      stream = null
      setTimeout(checkSession, 2000)
    }
  }
  // checkSession finds out whether the server is unreachable or the session has ended.
  const checkSession = async () => {
    try {
      const page = await fetch('/console/', { method: 'HEAD', redirect: 'manual', cache: 'no-store' })
      if (page.type === 'opaqueredirect') {
        document.dispatchEvent(new Event('loggedout')) // the feed ends too
        return setState('failed', 'You are logged out.', '/console/login')
      }
      listen()
    } catch {
      setTimeout(checkSession, 2000)
    }
  }
  document.addEventListener('visibilitychange', listen)
  listen()
}
