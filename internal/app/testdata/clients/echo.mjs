// Runs laravel-echo over pusher-js, with the arguments of pusher.mjs. Echo asks for signatures by forms only.
import Echo from 'laravel-echo'
import Pusher from 'pusher-js'
import { obey, saw, watch, watchAttempts } from './told.mjs'

const { key, options, endpoint, headers } = JSON.parse(process.argv[2])

watchAttempts(Pusher)
const echo = new Echo({ broadcaster: 'reverb', Pusher, key, ...options, authEndpoint: endpoint, auth: { headers } })
watch(echo.connector.pusher)

const listen = (channel) => (channel.startsWith('private-') ? echo.private(channel.slice('private-'.length)) : echo.channel(channel))

obey({
  subscribe: ({ channel }) => {
    const listener = listen(channel)
    const tell = (event) => (data) => saw('event', { channel, event, data })
    listener.subscribed(tell('pusher:subscription_succeeded')).error(tell('pusher:subscription_error'))
    for (const event of ['OrderPaid', 'OrderFailed', 'OrderCancelled', 'Announced', 'pusher:cache_miss', 'pusher:error']) {
      listener.listen(`.${event}`, tell(event))
    }
  },
  unsubscribe: ({ channel }) => echo.leaveChannel(channel),
  trigger: ({ channel, event, data }) => listen(channel).whisper(event.slice('client-'.length), data),
  disconnect: () => echo.disconnect(),
})
