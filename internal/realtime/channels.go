package realtime

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"orderflow/internal/order"
	"orderflow/internal/pusher"
)

// maxListed limits the channels of one response.
const maxListed = 50_000

// channelState has the requested attributes of a channel on this node.
type channelState struct {
	Occupied          *bool `json:"occupied,omitempty"`
	UserCount         *int  `json:"user_count,omitempty"`
	SubscriptionCount *int  `json:"subscription_count,omitempty"`
}

// info has the attributes that a request asks for.
type info struct{ occupied, users, subscriptions bool }

// parseInfo parses the parameter info, a list of attributes separated by commas. The error carries CodeValidation.
func parseInfo(text string) (want info, err error) {
	if text == "" {
		return info{}, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		switch name {
		case "occupied":
			want.occupied = true
		case "user_count":
			want.users = true
		case "subscription_count":
			want.subscriptions = true
		default:
			return info{}, order.Invalid("info", "must be a list of subscription_count, user_count and occupied, separated by commas")
		}
	}
	return want, nil
}

// state returns the state of a channel with this number of subscriptions. Only presence channels have users; since these are not
// supported, the number of users is 0.
func (want info) state(name string, subscriptions int) (state channelState) {
	if want.occupied {
		occupied := subscriptions > 0
		state.Occupied = &occupied
	}
	if want.subscriptions {
		state.SubscriptionCount = &subscriptions
	}
	if want.users && pusher.IsPresence(name) {
		state.UserCount = new(int)
	}
	return state
}

// channelStates returns the states of the channels of a published event, with the attributes of its info.
func (s *Server) channelStates(p *publication) map[string]channelState {
	want, _ := parseInfo(p.Info)
	states := make(map[string]channelState, len(p.Channels))
	for _, name := range p.Channels {
		states[name] = want.state(name, s.hub.subscribers(name))
	}
	return states
}

// readQuery checks a signed GET and returns its query and its info. presence returns whether the query selects presence channels
// only.
func (s *Server) readQuery(r *http.Request, presence func(url.Values) bool) (query url.Values, want info, err error) {
	query = r.URL.Query()
	if err := s.checkSigned(r, query); err != nil {
		return nil, info{}, err
	}
	want, err = parseInfo(query.Get("info"))
	if err == nil && want.users && !presence(query) {
		err = order.Invalid("info", "may contain user_count for presence channels only")
	}
	return query, want, err
}

// listChannels lists the channels that have subscribers.
func (s *Server) listChannels(w http.ResponseWriter, r *http.Request) error {
	const filter = "filter_by_prefix"
	query, want, err := s.readQuery(r, func(query url.Values) bool { return pusher.IsPresence(query.Get(filter)) })
	if err != nil {
		return err
	}
	names := s.hub.names(query.Get(filter), maxListed+1)
	if len(names) > maxListed {
		return order.Invalid(filter, fmt.Sprintf("must be longer: more than %d channels have this prefix", maxListed))
	}
	states := make(map[string]channelState, len(names))
	for _, name := range names {
		if n := s.hub.subscribers(name); n > 0 { // it may have lost its subscribers meanwhile
			states[name] = want.state(name, n)
		}
	}
	return writeValue(w, map[string]any{"channels": states})
}

// showChannel returns the state of one channel, always with occupied.
func (s *Server) showChannel(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("channel")
	_, want, err := s.readQuery(r, func(url.Values) bool { return pusher.IsPresence(name) })
	if err != nil {
		return err
	}
	if !pusher.ValidChannel(name) {
		return order.Invalid("channel", "must be a name of 1 to 164 letters, digits and _-=@,.;")
	}
	want.occupied = true
	return writeValue(w, want.state(name, s.hub.subscribers(name)))
}

// listUsers returns the users of a presence channel, always an empty list.
func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) error {
	if err := s.checkSigned(r, r.URL.Query()); err != nil {
		return err
	}
	if name := r.PathValue("channel"); !pusher.ValidChannel(name) || !pusher.IsPresence(name) {
		return order.Invalid("channel", "must be a presence channel: other channels have no users")
	}
	writeJSON(w, http.StatusOK, []byte(`{"users":[]}`+"\n"))
	return nil
}

// writeValue writes a value as JSON, with status 200.
func writeValue(w http.ResponseWriter, value any) error {
	body, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, append(body, '\n'))
	return nil
}
