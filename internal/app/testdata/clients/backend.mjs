// Runs Pusher's library for back ends. The first argument is JSON: the library's options.
import Pusher from 'pusher'
import { obey, saw } from './told.mjs'

const pusher = new Pusher(JSON.parse(process.argv[2]))

// Reports the answer to a request, and a refusal likewise.
const report = async (request) => {
  try {
    const answer = await request
    saw('answer', { status: answer.status, body: await answer.json() })
  } catch ({ status, body, message }) {
    saw('answer', { status, body: body ?? message })
  }
}

obey({
  get: ({ path, params }) => report(pusher.get({ path, params })),
  trigger: ({ channel, event, data, params }) => report(pusher.trigger(channel, event, data, params)),
})
