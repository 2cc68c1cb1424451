package api

import (
	"net/http"

	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/web"
)

// channelRequest is the request of a Pusher client for the signature of a private channel.
type channelRequest struct{ socketID, channel string }

// authorizeChannel signs a private channel for one WebSocket connection.
func (a *API) authorizeChannel(rc *requestContext) error {
	request, err := rc.readChannelRequest()
	if err != nil {
		return err
	}
	if !a.maySubscribe(rc, request.channel) {
		return order.Errorf(order.CodeForbidden, "This caller may not subscribe to this channel. "+
			"Send the token of the channel's user, or an admin's token.")
	}
	signature := a.options.Realtime.SignChannel(request.socketID, request.channel)
	return rc.value(http.StatusOK, struct {
		Auth string `json:"auth"`
	}{signature})
}

// maySubscribe reports whether a caller may subscribe to a private channel: to the channels of a user for whom it may act, and as an
// administrator to the feed of all orders.
func (a *API) maySubscribe(rc *requestContext, channel string) bool {
	if channel == pusher.FeedChannel {
		return rc.caller.Admin || a.options.Local && web.FromLoopback(rc.r) == nil
	}
	user := pusher.ChannelUser(channel)
	return order.ValidID(user) && rc.caller.MayActFor(user)
}

// readChannelRequest reads the request, which is a form or JSON.
func (rc *requestContext) readChannelRequest() (channelRequest, error) {
	var request channelRequest
	var invalid order.ValidationErrors
	kind, err := mediaType(rc.r.Header, mediaForm, mediaJSON)
	if err != nil {
		return request, err
	}
	if kind == mediaForm {
		invalid, err = rc.readChannelForm(&request)
	} else {
		invalid, err = rc.decode(func(r *bodyReader) {
			r.object(func(name []byte) bool {
				switch string(name) {
				case "socket_id":
					request.socketID = r.text("socket_id")
				case "channel_name":
					request.channel = r.text("channel_name")
				default:
					return false
				}
				return true
			}, "socket_id", "channel_name")
		})
	}
	if err != nil {
		return request, err
	}
	var rules order.ValidationErrors
	if !pusher.ValidSocketID(request.socketID) {
		rules.Add("socket_id", "must be the socket id of the connection, such as 123.456")
	}
	if request.channel == "" || len(request.channel) > pusher.MaxChannelName {
		rules.Add("channel_name", "must be the name of a channel")
	}
	return request, invalid.With(rules)
}

func (rc *requestContext) readChannelForm(into *channelRequest) (invalid order.ValidationErrors, err error) {
	form, err := rc.readForm()
	if err != nil {
		return nil, err
	}
	for field, value := range map[string]*string{"socket_id": &into.socketID, "channel_name": &into.channel} {
		switch *value = form.Get(field); len(form[field]) {
		case 0:
			invalid.Add(field, "is required")
		case 1:
		default:
			invalid.Add(field, "must be given once")
		}
	}
	return invalid, nil
}
