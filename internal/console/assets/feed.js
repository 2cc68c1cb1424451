// The newest orders as they change, over the product's own WebSocket server, as any client would hear of them.
'use strict'
{
  const rows = 50
  const state = document.getElementById('feed-state')
  const table = document.getElementById('feed')
  const body = table.tBodies[0]
  const say = (kind, text) => {
    state.dataset.state = kind
    state.textContent = text
  }
  const { key, socket, missing } = state.dataset
  let waiting = [] // events that are not drawn yet
  let heard = false // since the page was opened

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
  // draw puts what came since the last frame on top.
  const draw = () => {
    body.prepend(...waiting.slice(-rows).reverse().map(row))
    waiting = []
    while (body.rows.length > rows) body.lastElementChild.remove()
    table.hidden = false
  }
  const listening = () => say('live', heard ? 'Live.' : 'Live. No order has changed since this page was opened.')

  if (!socket) {
    say('failed', 'This server has no WebSocket server to listen to.')
  } else {
    const { hostname, port, protocol } = new URL(socket)
    const secure = protocol === 'wss:'
    const pusher = new Pusher(key, {
      cluster: '', wsHost: hostname, wsPort: port || 80, wssPort: port || 443, forceTLS: secure,
      enabledTransports: [secure ? 'wss' : 'ws'], enableStats: false,
      channelAuthorization: { transport: 'ajax', endpoint: '/console/broadcasting/auth' },
    })
    let connected = false
    let over = false // the visitor is logged out, or the server refused the page
    let away // while it is, a timer: by itself the client waits for up to a minute after it was refused
    const anew = () => {
      pusher.disconnect()
      pusher.connect()
    }
    document.addEventListener('loggedout', () => {
      over = true
      away = clearInterval(away)
      pusher.disconnect()
      say('failed', 'You are logged out.')
    })
    pusher.connection.bind('error', ({ error }) => {
      const { code, message } = error?.data ?? {}
      if (!(code >= 4000 && code < 4100)) return // of these codes the protocol says that another try would be refused too
      over = true
      away = clearInterval(away)
      pusher.disconnect()
      say('failed', `The WebSocket server refused this page (${code}): ${message}`)
    })
    pusher.connection.bind('state_change', ({ current }) => {
      if (over) return
      if (current !== 'connected' && current !== 'failed') away ??= setInterval(anew, 5000)
      else away = clearInterval(away)
      if (current === 'connected') return say('loading', 'Subscribing…')
      if (current === 'failed') return say('failed', 'This browser has no WebSockets.')
      if (missing && !connected) return say('disconnected', missing)
      say(connected || current !== 'connecting' ? 'disconnected' : 'loading', connected || current !== 'connecting' ? 'Disconnected; trying again…' : 'Connecting…')
    })
    const feed = 'private-orders-feed'
    const channel = pusher.subscribe(feed)
    channel.bind('pusher:subscription_succeeded', () => {
      connected = true
      listening()
    })
    channel.bind('pusher:subscription_error', ({ status }) => {
      if (status === 401 || status === 403) return say('failed', 'To hear of all orders needs an admin’s token.')
      say('disconnected', 'The server did not let this page subscribe; trying again…')
      setTimeout(() => over || pusher.subscribe(feed), 5000)
    })
    channel.bind('order', (order) => {
      if (!heard) {
        heard = true
        listening()
      }
      if (waiting.push(order) === 1) requestAnimationFrame(draw)
      if (waiting.length > rows * 2) waiting.splice(0, waiting.length - rows) // a page in the background is not drawn
    })
  }
}
