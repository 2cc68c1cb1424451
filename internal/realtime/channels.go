package realtime

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"orderflow/internal/order"
)

// maxListed is how many channels one answer lists.
const maxListed = 50_000

// channelState is what the HTTP API reports of a channel: the attributes that a request asks for, counted on this node.
type channelState struct {
	Occupied          *bool `json:"occupied,omitempty"`
	UserCount         *int  `json:"user_count,omitempty"`
	SubscriptionCount *int  `json:"subscription_count,omitempty"`
}

// info is the attributes that a request asks for.
type info struct{ occupied, users, subscriptions bool }

// parseInfo reads the parameter info: attributes with commas between them. The error carries CodeValidation.
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
			return info{}, order.Invalid("info", "must be attributes of subscription_count, user_count and occupied, with commas between them")
		}
	}
	return want, nil
}

// state is the state of a channel with so many subscriptions. Only presence channels have users. They are not supported, and so
// have none.
func (want info) state(name string, subscriptions int) (state channelState) {
	if want.occupied {
		occupied := subscriptions > 0
		state.Occupied = &occupied
	}
	if want.subscriptions {
		state.SubscriptionCount = &subscriptions
	}
	if want.users && isPresence(name) {
		state.UserCount = new(int)
	}
	return state
}

// statesOf are the states of the channels that an event was published to, as its checked info asks.
func (s *Server) statesOf(p *publication) map[string]channelState {
	want, _ := parseInfo(p.Info)
	states := make(map[string]channelState, len(p.Channels))
	for _, name := range p.Channels {
		states[name] = want.state(name, s.hub.listeners(name))
	}
	return states
}

// readQuery checks a signed GET, and returns its query and the attributes that it asks for. presence says whether it is about
// presence channels only.
func (s *Server) readQuery(r *http.Request, presence func(url.Values) bool) (query url.Values, want info, err error) {
	query = r.URL.Query()
	if err := s.checkSigned(r, query); err != nil {
		return nil, info{}, err
	}
	want, err = parseInfo(query.Get("info"))
	if err == nil && want.users && !presence(query) {
		err = order.Invalid("info", "may ask for user_count of presence channels only")
	}
	return query, want, err
}

// listChannels lists the channels that have subscribers.
func (s *Server) listChannels(w http.ResponseWriter, r *http.Request) error {
	const filter = "filter_by_prefix"
	query, want, err := s.readQuery(r, func(query url.Values) bool { return isPresence(query.Get(filter)) })
	if err != nil {
		return err
	}
	names := s.hub.names(query.Get(filter), maxListed+1)
	if len(names) > maxListed {
		return order.Invalid(filter, fmt.Sprintf("must be a longer prefix: more than %d channels begin with this one", maxListed))
	}
	states := make(map[string]channelState, len(names))
	for _, name := range names {
		if n := s.hub.listeners(name); n > 0 { // it may have lost them meanwhile
			states[name] = want.state(name, n)
		}
	}
	return answerJSON(w, map[string]any{"channels": states})
}

// showChannel reports the state of one channel, which always tells whether it has subscribers.
func (s *Server) showChannel(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("channel")
	_, want, err := s.readQuery(r, func(url.Values) bool { return isPresence(name) })
	if err != nil {
		return err
	}
	if !validChannel(name) {
		return order.Invalid("channel", "must be a name of up to 164 letters, digits and _-=@,.;")
	}
	want.occupied = true
	return answerJSON(w, want.state(name, s.hub.listeners(name)))
}

// listUsers lists the users of a presence channel, of which there are none.
func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) error {
	if err := s.checkSigned(r, r.URL.Query()); err != nil {
		return err
	}
	if name := r.PathValue("channel"); !validChannel(name) || !isPresence(name) {
		return order.Invalid("channel", "must be a presence channel: other channels have subscribers without names")
	}
	answer(w, http.StatusOK, []byte(`{"users":[]}`+"\n"))
	return nil
}

// answerJSON answers 200 with a value.
func answerJSON(w http.ResponseWriter, value any) error {
	body, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, append(body, '\n'))
	return nil
}
