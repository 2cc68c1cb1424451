package app_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

// Linearizable means: every request takes effect at one moment between its arrival and its answer, one after the other. The model below
// defines the answer of each request; porcupine searches for an order of the requests in which all answers match the model. Products are
// independent, so each has a history of its own. Every client uses all of them, so that batches mix them.

const (
	linearKeys  = 8 // idempotency keys in use for each product
	linearStock = 6 // units of each product
)

// operation is a request.
type operation struct {
	op       string // create, cancel, show, stock
	product  int64
	key      int   // of a create
	quantity int64 // of a create
	id       int64 // of the order that is cancelled or shown
}

// outcome is the part of an answer that the model defines.
type outcome struct {
	status int
	code   string
	id     int64
	state  string // of the order
	stock  int64  // of the product, or in a refusal
}

// productModel is the state of one product. It is a value, compared with ==.
type productModel struct {
	stock  int64
	orders [linearKeys]entry
}

// entry is the order of a key; id 0 for none.
type entry struct {
	id, quantity int64
	cancelled    bool
}

func (e entry) state() string {
	if e.cancelled {
		return "CANCELLED"
	}
	return "PENDING"
}

// apply reports whether the answer is valid, and returns the next state.
func (b productModel) apply(in operation, out outcome) (bool, productModel) {
	if in.op == "stock" {
		return out.status == http.StatusOK && out.stock == b.stock, b
	}
	if in.op == "create" {
		e := &b.orders[in.key] // b is a copy
		switch {
		case e.id == 0 && b.stock < in.quantity:
			return out.status == http.StatusConflict && out.code == "insufficient_stock" && out.stock == b.stock, b
		case e.id == 0:
			*e = entry{id: out.id, quantity: in.quantity}
			b.stock -= in.quantity
			return out.status == http.StatusCreated && out.id != 0 && out.state == "PENDING", b
		case e.quantity != in.quantity:
			return out.status == http.StatusUnprocessableEntity && out.code == "idempotency_key_reused", b
		default:
			return out.status == http.StatusOK && out.id == e.id && out.state == e.state(), b
		}
	}
	for i := range b.orders {
		e := &b.orders[i]
		if e.id != in.id {
			continue
		}
		if in.op == "cancel" && !e.cancelled {
			e.cancelled = true
			b.stock += e.quantity
		}
		return out.status == http.StatusOK && out.id == in.id && out.state == e.state(), b
	}
	return false, b
}

func model() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			parts := map[int64][]porcupine.Operation{}
			for _, o := range history {
				product := o.Input.(operation).product
				parts[product] = append(parts[product], o)
			}
			return slices.Collect(maps.Values(parts))
		},
		Init:              func() any { return productModel{stock: linearStock} },
		Step:              func(state, in, out any) (bool, any) { return state.(productModel).apply(in.(operation), out.(outcome)) },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
	}
}

// TestSoakLinearizable: clients create, repeat, cancel and read orders at random.
func TestSoakLinearizable(t *testing.T) {
	t.Parallel()
	rounds := 1
	var end time.Time
	if text := os.Getenv("ORDERFLOW_SOAK"); text != "" {
		long, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		end = time.Now().Add(long)
	}
	for round := 0; round < rounds || time.Now().Before(end); round++ {
		for name, limit := range map[string]int{"batches": config.Defaults().BatchMax, "batches of 3": 3, "an order a transaction": 1} {
			for ground, on := range databases() {
				t.Run(name+" on "+ground, func(t *testing.T) { linear(t, limit, on) })
			}
		}
	}
}

func linear(t *testing.T, batchMax int, on func(*testing.T, *config.Settings)) {
	s := serve(t, func(set *config.Settings) {
		on(t, set)
		seedDatabase(t, *set, app.SeedPlan{SetStock: true, Stock: linearStock})
		apiOnly(set)
		set.BatchMax = batchMax
	})
	const clients, requests = 8, 50
	var mu sync.Mutex
	var history []porcupine.Operation
	known := map[int64][]int64{} // the orders of each product that some client knows
	began := time.Now()
	concurrently(clients, func(client int) {
		random := rand.New(rand.NewPCG(rand.Uint64(), uint64(client)))
		for range requests {
			in := operation{op: "create", product: random.Int64N(5) + 1, key: random.IntN(linearKeys), quantity: random.Int64N(2) + 1}
			mu.Lock()
			orders := known[in.product]
			mu.Unlock()
			switch dice := random.IntN(10); {
			case dice < 2:
				in = operation{op: "stock", product: in.product}
			case dice < 6 && len(orders) > 0:
				in = operation{op: "cancel", product: in.product, id: orders[random.IntN(len(orders))]}
				if dice == 5 {
					in.op = "show"
				}
			}
			call := time.Since(began)
			out := s.execute(in)
			answered := time.Since(began)
			mu.Lock()
			history = append(history, porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: int64(answered)})
			if out.status == http.StatusCreated {
				known[in.product] = append(known[in.product], out.id)
			}
			mu.Unlock()
		}
	})
	s.stop()
	if s.lostRedis() { // the list of products may be a second old
		history = slices.DeleteFunc(history, func(o porcupine.Operation) bool { return o.Input.(operation).op == "stock" })
	}
	result, info := porcupine.CheckOperationsVerbose(model(), history, patience)
	if result == porcupine.Illegal {
		picture := filepath.Join(t.ArtifactDir(), "history.html")
		t.Errorf("no order of the requests explains the answers; see %s: %v", picture, porcupine.VisualizePath(model(), info, picture))
	}
	t.Logf("%d requests: %s", len(history), result)
}

// execute sends a request of the model and reads what it needs of the answer.
func (s *testServer) execute(in operation) outcome {
	s.t.Helper()
	switch in.op {
	case "stock":
		return outcome{status: http.StatusOK, stock: s.stock(in.product)}
	case "create":
		return parseOutcome(s.buy(1, fmt.Sprintf("%d-%d", in.product, in.key), in.product, in.quantity))
	case "cancel":
		return parseOutcome(s.cancel(in.id))
	default:
		return parseOutcome(s.get(fmt.Sprintf("/api/v1/orders/%d", in.id)))
	}
}

func parseOutcome(r response) outcome {
	o, f := r.order(), r.errorBody()
	return outcome{status: r.status, code: f.Error, id: o.ID, state: o.Status, stock: f.Available}
}

// TestModel: the model accepts valid histories and rejects invalid ones.
func TestModel(t *testing.T) {
	created := func(id int64) outcome { return outcome{status: 201, id: id, state: "PENDING"} }
	buy := func(key int, quantity int64) operation {
		return operation{op: "create", product: 1, key: key, quantity: quantity}
	}
	type step struct {
		in  operation
		out outcome
	}
	for name, c := range map[string]struct {
		steps []step // sequential
		want  porcupine.CheckResult
	}{
		"fine": {[]step{
			{buy(0, 5), created(1)},
			{buy(1, 2), outcome{status: 409, code: "insufficient_stock", stock: 1}},
			{buy(0, 5), outcome{status: 200, id: 1, state: "PENDING"}},
			{operation{op: "cancel", product: 1, id: 1}, outcome{status: 200, id: 1, state: "CANCELLED"}},
			{buy(1, 2), created(2)},
			{operation{op: "stock", product: 1}, outcome{status: 200, stock: 4}},
		}, porcupine.Ok},
		"oversold":           {[]step{{buy(0, 5), created(1)}, {buy(1, 2), created(2)}}, porcupine.Illegal},
		"refused for no why": {[]step{{buy(0, 6), outcome{status: 409, code: "insufficient_stock", stock: 6}}}, porcupine.Illegal},
		"a key twice":        {[]step{{buy(0, 1), created(1)}, {buy(0, 1), created(2)}}, porcupine.Illegal},
		"two bodies":         {[]step{{buy(0, 1), created(1)}, {buy(0, 2), outcome{status: 200, id: 1, state: "PENDING"}}}, porcupine.Illegal},
		"an old stock":       {[]step{{buy(0, 1), created(1)}, {operation{op: "stock", product: 1}, outcome{status: 200, stock: 6}}}, porcupine.Illegal},
		"given back twice": {[]step{
			{buy(0, 6), created(1)},
			{operation{op: "cancel", product: 1, id: 1}, outcome{status: 200, id: 1, state: "CANCELLED"}},
			{operation{op: "cancel", product: 1, id: 1}, outcome{status: 200, id: 1, state: "CANCELLED"}},
			{operation{op: "stock", product: 1}, outcome{status: 200, stock: 12}},
		}, porcupine.Illegal},
		"a cancellation lost": {[]step{
			{buy(0, 1), created(1)},
			{operation{op: "cancel", product: 1, id: 1}, outcome{status: 200, id: 1, state: "CANCELLED"}},
			{operation{op: "show", product: 1, id: 1}, outcome{status: 200, id: 1, state: "PENDING"}},
		}, porcupine.Illegal},
	} {
		t.Run(name, func(t *testing.T) {
			var history []porcupine.Operation
			for i, s := range c.steps {
				history = append(history, porcupine.Operation{Input: s.in, Output: s.out, Call: int64(2 * i), Return: int64(2*i + 1)})
			}
			if got := porcupine.CheckOperationsTimeout(model(), history, patience); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
