// A socket.io 4 server on the loopback port of the first argument: clients join rooms, and POST /publish, with a list of
// {channel, event, data}, emits each to its room and answers when all are handed over.
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const http = createServer((request, response) => {
  if (request.method !== 'POST' || request.url !== '/publish') {
    response.writeHead(404).end()
    return
  }
  const parts = []
  request.on('data', part => parts.push(part))
  request.on('end', () => {
    for (const { channel, event, data } of JSON.parse(Buffer.concat(parts).toString())) {
      io.to(channel).emit(event, data)
    }
    response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}')
  })
})

const io = new Server(http, {
  transports: ['websocket'],
  serveClient: false,
  perMessageDeflate: false,
  httpCompression: false
})

io.on('connection', socket => {
  socket.on('join', (channel, joined) => {
    socket.join(channel)
    joined()
  })
})

http.keepAliveTimeout = 0 // publishers may rest longer than the five seconds after which node hangs up
process.on('SIGTERM', () => process.exit(0))
http.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 })
