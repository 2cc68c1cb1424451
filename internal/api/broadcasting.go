package api

import (
	"net/http"

	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/web"
)

// maySubscribe reports whether a caller may listen to a private channel: a user's to who acts for this user, the feed to an
// operator.
func (a *API) maySubscribe(x *requestContext, channel string) bool {
	if channel == pusher.FeedChannel {
		return x.caller.Admin || a.options.Local && web.FromLoopback(x.r) == nil
	}
	user := pusher.ChannelUser(channel)
	return order.ValidID(user) && x.caller.MayActFor(user)
}

// authorizeChannel signs a private channel for a WebSocket connection, as clients of Pusher Channels ask for it: a form or
// JSON with socket_id and channel_name. A user may listen to nobody else's orders.
func (a *API) authorizeChannel(x *requestContext) error {
	if err := a.origins.CheckChange(x.r); err != nil {
		return err
	}
	socket, channel, err := x.channelRequest()
	if err != nil {
		return err
	}
	if !a.maySubscribe(x, channel) {
		return order.Errorf(order.CodeForbidden, "Nobody who asks like this may subscribe to this channel.")
	}
	x.out = append(x.out[:0], `{"auth":`...)
	x.out = web.AppendString(x.out, a.options.Realtime.SignChannel(socket, channel))
	x.out = append(x.out, '}', '\n')
	x.json(http.StatusOK, x.out)
	return nil
}

// channelBody is the body of POST /broadcasting/auth as far as it was understood.
type channelBody struct {
	socket, channel string
	faults          faults
}

// channelRequest reads and checks what is to be signed.
func (x *requestContext) channelRequest() (socket, channel string, err error) {
	kind, err := mediaType(x.r.Header, mediaForm, mediaJSON)
	if err != nil {
		return "", "", err
	}
	var body channelBody
	if kind == mediaForm {
		err = x.channelForm(&body)
	} else {
		err = x.channelJSON(&body)
	}
	if err != nil {
		return "", "", err
	}
	var wrong faults
	if !pusher.ValidSocketID(body.socket) {
		wrong.add("socket_id", "must be the connection's socket id, such as 123.456")
	}
	if body.channel == "" || len(body.channel) > pusher.MaxChannelName {
		wrong.add("channel_name", "must be the name of a channel")
	}
	body.faults.addOthers(wrong.err())
	return body.socket, body.channel, body.faults.err()
}

func (x *requestContext) channelJSON(into *channelBody) error {
	raw, err := x.readBytes(malformed)
	if err != nil {
		return err
	}
	return x.decode(raw, func(r *bodyReader) {
		has := r.fields(&into.faults, map[string]func(field string){
			"socket_id":    func(field string) { into.socket = r.text(field, &into.faults) },
			"channel_name": func(field string) { into.channel = r.text(field, &into.faults) },
		})
		has.require(&into.faults, "socket_id", "channel_name")
	})
}

func (x *requestContext) channelForm(into *channelBody) error {
	form, err := x.readForm()
	if err != nil {
		return err
	}
	for field, value := range map[string]*string{"socket_id": &into.socket, "channel_name": &into.channel} {
		switch *value = form.Get(field); len(form[field]) {
		case 0:
			into.faults.add(field, "is required")
		case 1:
		default:
			into.faults.add(field, "must be given once")
		}
	}
	return nil
}
