// Runs pusher-js. The first argument is JSON: the app's key, the client's options, and how it gets its channels signed:
// "form", as pusher-js asks by itself; "json", by a request of the page's own; "forged", not at all.
import Pusher from 'pusher-js'
import { obey, saw, watch, watchAttempts } from './told.mjs'

const { key, options, authorize, endpoint, headers } = JSON.parse(process.argv[2])

const authorizations = {
  form: { transport: 'ajax', endpoint, headers },
  json: {
    customHandler: async ({ socketId, channelName }, done) => {
      const answer = await fetch(endpoint, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify({ socket_id: socketId, channel_name: channelName }),
      })
      answer.ok ? done(null, await answer.json()) : done(new Error(`status ${answer.status}`), null)
    },
  },
  forged: { customHandler: (_, done) => done(null, { auth: `${key}:${'0'.repeat(64)}` }) },
}

watchAttempts(Pusher)
const pusher = new Pusher(key, { ...options, channelAuthorization: authorizations[authorize] })
watch(pusher)

obey({
  subscribe: ({ channel }) => pusher.subscribe(channel).bind_global((event, data) => saw('event', { channel, event, data })),
  unsubscribe: ({ channel }) => pusher.unsubscribe(channel),
  trigger: ({ channel, event, data }) => pusher.channel(channel).trigger(event, data),
  disconnect: () => pusher.disconnect(),
})
