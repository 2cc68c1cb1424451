// The latest changes of orders, received from the product's WebSocket server as any client receives them.
'use strict'
{
  const rows = 50
  const state = document.getElementById('feed-state')
  const table = document.getElementById('feed')
  const body = table.tBodies[0]
  const show = (kind, text) => {
    state.dataset.state = kind
    state.textContent = text
  }
  const { key, socket, channel: feed, missing } = state.dataset
  let waiting = [] // events not yet drawn
  let received = false // an event, since the page was opened

  const cell = (text, className) => Object.assign(document.createElement('td'), { textContent: text ?? '', className: className ?? '' })
  const row = (order) => {
    const tr = document.createElement('tr')
    const link = Object.assign(document.createElement('a'), { href: '/console/orders/' + encodeURIComponent(order.order_id), textContent: order.order_id })
    const first = cell()
    first.append(link)
    const time = new Date(order.timestamp)
    tr.append(first, cell(order.status, 'status ' + order.status), cell(order.total_amount, 'figure'), cell(order.user_id, 'figure'),
      cell(isNaN(time) ? '' : time.toLocaleTimeString()))
    tr.title = 'trace id ' + order.trace_id
    return tr
  }
  // draw adds the events since the last frame at the top.
  const draw = () => {
    body.prepend(...waiting.slice(-rows).reverse().map(row))
    waiting = []
    while (body.rows.length > rows) body.lastElementChild.remove()
    table.hidden = false
  }
  const showLive = () => show('live', received ? 'Live.' : 'Live. No order has changed since this page was opened.')

  if (!socket) {
    show('failed', 'This server has no WebSocket server.')
  } else {
    const { hostname, port, protocol } = new URL(socket)
    const secure = protocol === 'wss:'
    const pusher = new Pusher(key, {
      cluster: '', wsHost: hostname, wsPort: port || 80, wssPort: port || 443, forceTLS: secure,
      enabledTransports: [secure ? 'wss' : 'ws'], enableStats: false,
      channelAuthorization: { transport: 'ajax', endpoint: '/console/broadcasting/auth' },
    })
    let connected = false
    let ended = false // the session has ended, or the server refused the page
    let retry // a timer while disconnected: the client itself waits for up to a minute after a refusal
    const reconnect = () => {
      pusher.disconnect()
      pusher.connect()
    }
    document.addEventListener('loggedout', () => {
      ended = true
      retry = clearInterval(retry)
      pusher.disconnect()
      show('failed', 'You are logged out.')
    })
    pusher.connection.bind('error', ({ error }) => {
      const { code, message } = error?.data ?? {}
      if (!(code >= 4000 && code < 4100)) return // the client must not reconnect after these codes only
      ended = true
      retry = clearInterval(retry)
      pusher.disconnect()
      show('failed', `The WebSocket server refused this page (${code}): ${message}`)
    })
    pusher.connection.bind('state_change', ({ current }) => {
      if (ended) return
      if (current !== 'connected' && current !== 'failed') retry ??= setInterval(reconnect, 5000)
      else retry = clearInterval(retry)
      if (current === 'connected') return show('loading', 'Subscribing…')
      if (current === 'failed') return show('failed', 'This browser does not support WebSockets.')
      if (missing && !connected) return show('disconnected', missing)
      show(connected || current !== 'connecting' ? 'disconnected' : 'loading', connected || current !== 'connecting' ? 'Disconnected. Reconnecting…' : 'Connecting…')
    })
    const channel = pusher.subscribe(feed)
    channel.bind('pusher:subscription_succeeded', () => {
      connected = true
      showLive()
    })
    channel.bind('pusher:subscription_error', ({ status }) => {
      if (status === 401 || status === 403) return show('failed', 'Changes of all orders need an admin token.')
      show('disconnected', 'The server refused the subscription. Retrying…')
      setTimeout(() => ended || pusher.subscribe(feed), 5000)
    })
    channel.bind('order', (order) => {
      if (!received) {
        received = true
        showLive()
      }
      if (waiting.push(order) === 1) requestAnimationFrame(draw)
      if (waiting.length > rows * 2) waiting.splice(0, waiting.length - rows) // the browser does not draw a page in the background
    })
  }
}
