// The charts of the page Live: the last ten minutes, then a sample a second, from /console/live/events.
'use strict'
{
  const keep = 600
  // The figures of a sample, in the order in which the server sends them behind the time.
  const names = ['orders', 'answered', 'conflict', 'refused', 'limited', 'failed', 'batch', 'p50', 'p95', 'p99',
    'paid', 'declined', 'unanswered', 'lag', 'overdue', 'open', 'sockets', 'streams']
  const colours = ['#2f8fd8', '#d9822b', '#9467bd', '#c52f8f', '#d62728'] // as console.css has them
  const charts = [
    { title: 'Orders a second', lines: { orders: 'created' } },
    { title: 'Answers a second', lines: { answered: '2xx', conflict: '409', refused: 'other 4xx', limited: '429', failed: '5xx' } },
    { title: 'Orders in a batch', lines: { batch: 'mean' } },
    { title: 'Time of an order', unit: ' ms', lines: { p50: 'p50', p95: 'p95', p99: 'p99' } },
    { title: 'Payments a second', lines: { paid: 'charged', declined: 'declined', unanswered: 'no answer' } },
    { title: 'Queue lag', unit: ' ms', lines: { lag: 'to the claim, p95', overdue: 'overdue' } },
    { title: 'Orders not finished', lines: { open: 'pending or processing' } },
    { title: 'Sockets', lines: { sockets: 'WebSockets', streams: 'event streams' } },
  ]
  const seldom = new Set(['open', 'overdue']) // asked for every ten seconds: their points are joined
  const data = [[], ...names.map(() => [])]
  const room = document.getElementById('charts')
  const state = document.getElementById('live-state')
  const say = (kind, text, link) => {
    if (state.dataset.state === kind && state.textContent === text) return
    state.dataset.state = kind
    state.textContent = text
    if (link) state.append(' ', Object.assign(document.createElement('a'), { href: link, textContent: 'Log in again' }))
  }
  const short = (n, unit) => n == null ? '–' : (n >= 100 ? Math.round(n).toLocaleString('en') : String(Math.round(n * 10) / 10)) + (unit ?? '')

  const compact = new Intl.NumberFormat('en', { notation: 'compact' }) // 20K, where 20,000 finds no room

  // window is the time that the charts show: ten minutes, or less while the server is young, so that its first minute fills them.
  const window = (_, first, last) => [Math.max(last - keep, Math.min(first, last - 60)), last]
  const clock = (_, ticks, __, ___, step) => ticks.map((at) => {
    const time = new Date(at * 1000).toTimeString()
    return time.slice(0, step < 60 ? 8 : 5)
  })

  // draw makes the charts, with the colours of the theme that is on.
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
        scales: { x: { range: window }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [{ ...axis, size: 30, space: 70, incrs: [10, 20, 30, 60, 120, 300], values: clock }, { ...axis, size: 52, values: (_, ticks) => ticks.map((n) => n < 10000 ? short(n) : compact.format(n)) }],
        series: [{}, ...Object.keys(chart.lines).map((name, i) => ({ stroke: colours[i], width: 1.5, spanGaps: seldom.has(name), points: { show: false } }))],
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
    room.append(figure)
  }
  draw()
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw)
  new ResizeObserver(() => {
    for (const { plot, place } of charts) {
      if (place.clientWidth > 0 && place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: 150 })
    }
  }).observe(room)

  // show puts samples at the end, lets go of what is older than ten minutes, and draws.
  const show = (samples) => {
    for (const sample of samples) {
      if (sample[0] <= data[0].at(-1)) continue // known: the stream was taken up again
      sample.forEach((value, i) => data[i].push(value))
    }
    for (const column of data) column.splice(0, column.length - keep)
    for (const chart of charts) {
      const shown = columns(chart)
      chart.plot.setData(shown)
      Object.values(chart.lines).forEach((label, i) => {
        const last = seldom.has(Object.keys(chart.lines)[i]) ? shown[i + 1].findLast((n) => n != null) : shown[i + 1].at(-1)
        chart.keys[i].textContent = label + ' ' + short(last, chart.unit)
      })
    }
    if (data[0].length === 0) say('empty', 'The server has only begun to count; the first figures come within a second.')
    else say('live', 'Live: a sample a second, of this process.')
  }

  // listen opens the stream. The browser takes it up again by itself, save when it was answered with an error.
  // A page that nobody sees has none: browsers open six connections to a server, and pages in the background would hold them all.
  let stream = null
  const listen = () => {
    stream?.close()
    stream = null
    if (document.hidden) return
    stream = new EventSource('/console/live/events')
    stream.onmessage = (message) => show(JSON.parse(message.data))
    stream.onerror = () => {
      say('disconnected', 'Disconnected; trying again…')
      if (stream?.readyState !== EventSource.CLOSED) return
      stream = null
      setTimeout(again, 2000)
    }
  }
  // again finds out whether the server is away or the session over.
  const again = async () => {
    try {
      const page = await fetch('/console/', { method: 'HEAD', redirect: 'manual', cache: 'no-store' })
      if (page.type === 'opaqueredirect') {
        document.dispatchEvent(new Event('loggedout')) // the feed ends with it
        return say('failed', 'You are logged out.', '/console/login')
      }
      listen()
    } catch {
      setTimeout(again, 2000)
    }
  }
  document.addEventListener('visibilitychange', listen)
  listen()
}
