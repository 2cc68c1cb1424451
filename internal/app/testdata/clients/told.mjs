// What the programs of this folder have in common: a test tells them what to do in JSON lines on standard input, and they
// tell the test what their client sees, a JSON line an observation, on standard output.
import { createInterface } from 'node:readline'

export const saw = (what, more) => console.log(JSON.stringify({ saw: what, at: Date.now(), ...more }))

// Tells of every attempt to connect, as the client logs them. It has to be called before there is a client.
export function watchAttempts(Pusher) {
  Pusher.log = (text) => text.includes('["Connecting"') && saw('attempt')
}

// Tells of the connection: its states, the waits between attempts, errors, and the names of messages.
export function watch({ connection }) {
  connection.bind('state_change', ({ current }) => saw(current, { socket: connection.socket_id }))
  connection.bind('connecting_in', (seconds) => saw('waits', { seconds }))
  connection.bind('error', (e) => {
    const { code, message } = e?.error?.data ?? e?.data ?? {}
    saw('error', { code, message })
  })
  connection.bind('message', ({ event }) => saw('message', { event }))
}

// Does what the test says until it says no more: { "do": NAME, … } calls what has this name.
export async function obey(does) {
  saw('ready')
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line)
    does[command.do](command)
  }
  process.exit(0)
}
