package storetest

import (
	"strings"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var downTests = map[string]func(*house){
	"says what it deletes":           downDeletes,
	"renamed columns keep values":    downRenames,
	"keeps open failed jobs":         downJobs,
	"keeps events not published":     downOutbox,
	"takes back what was agreed to":  downAgreed,
	"resolved and published rows go": downDone,
}

// lastStep returns the last step, and fails the test on an error.
func (h *house) lastStep() store.LastStep {
	h.Helper()
	last, err := h.LastStep(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return last
}

// down takes steps back until the last one deletes rows of this table.
func (h *house) down(table string) {
	h.Helper()
	for {
		last, err := h.LastStep(h.Context())
		if last.Table == table {
			return
		}
		if err == nil {
			err = h.MigrateDown(h.Context(), last.Version)
		}
		if err != nil {
			h.Fatalf("on the way down to %s: %v", table, err)
		}
	}
}

// stays checks that the last step is refused with a text, and is still there.
func (h *house) stays(want string) {
	h.Helper()
	last, err := h.LastStep(h.Context())
	if order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), want) {
		h.Errorf("the last step: %v, want an error with %q", err, want)
	}
	if err := h.MigrateDown(h.Context(), last.Version); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), want) {
		h.Errorf("taking it back: %v, want an error with %q", err, want)
	}
	if again, _ := h.LastStep(h.Context()); again.Version != last.Version {
		h.Errorf("step %d was taken back all the same", last.Version)
	}
}

// publish marks every event as published.
func (h *house) publish() {
	h.Helper()
	var ids []string
	for _, receipt := range h.owed(longAgo) {
		ids = append(ids, receipt.ID)
	}
	h.MarkPublished(ids)
	if err := h.FlushPublished(h.Context()); err != nil {
		h.Fatal(err)
	}
}

func downDeletes(h *house) {
	h.sample(10)
	for _, name := range []string{"a", "b"} {
		h.token(name, order.Token{UserID: 1, Name: name})
	}
	want := []store.LastStep{
		{Version: 22, Name: "00022_field_names"},
		{Version: 21, Name: "00021_outbox_refusals", Table: "outbox_refusals"},
		{Version: 20, Name: "00020_api_tokens", Table: "api_tokens", Rows: 2},
		{Version: 19, Name: "00019_outbox_paid_index"},
		{Version: 18, Name: "00018_outbox", Table: "outbox"},
	}
	for _, step := range want {
		if diff := cmp.Diff(step, h.lastStep()); diff != "" {
			h.Errorf("(-want +got):\n%s", diff)
		}
		if err := h.MigrateDown(h.Context(), step.Version); err != nil {
			h.Fatal(err)
		}
	}
	h.down("stock_movements")
	if got := h.lastStep().Rows; got < 5 {
		h.Errorf("%d movements, want one for each sample product at least", got)
	}
	h.down("products")
	if got := h.lastStep().Rows; got != 5 {
		h.Errorf("%d products, want 5", got)
	}
	h.down("installation")
	emptied := store.LastStep{Version: 2, Name: "00002_installation_id", Table: "installation", RowsOnly: true, Rows: 1}
	if diff := cmp.Diff(emptied, h.lastStep()); diff != "" {
		h.Errorf("a step that empties a table (-want +got):\n%s", diff)
	}
}

// downRenames goes below the step that renames columns, to a database as earlier builds made it, and up again.
func downRenames(h *house) {
	h.sample(10)
	h.buried()
	id := h.place("k").ID
	want, owed := h.read(id), len(h.owed(longAgo))
	h.down("outbox_refusals")
	if err := h.Migrate(h.Context()); err != nil {
		h.Fatal(err)
	}
	if diff := cmp.Diff(want, h.read(id)); diff != "" {
		h.Errorf("an order (-before +after):\n%s", diff)
	}
	if job := h.read(h.job().OrderID); job.Claims == 0 {
		h.Errorf("the order of the failed job has no claims: %+v", job)
	}
	if got := len(h.owed(longAgo)); got != owed {
		h.Errorf("%d outbox rows are unpublished, want %d", got, owed)
	}
	h.books()
}

func downAgreed(h *house) {
	last := h.lastStep()
	if err := h.MigrateDown(h.Context(), last.Version-1); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "another process") {
		h.Errorf("a step that is not the last: %v", err)
	}
	if got := h.lastStep(); got != last {
		h.Errorf("the last step is %v by now", got)
	}
}

// buried has an order whose payment is a failed job, by a store of its own, which has ended.
func (h *house) buried() {
	h.Helper()
	worker := h.under(AtOnce())
	worker.bury(worker.place("k").ID)
	if err := worker.Close(); err != nil {
		h.Fatal(err)
	}
}

func downJobs(h *house) {
	h.sample(10)
	h.buried()
	h.publish()
	h.down("outbox")
	h.stays("failed jobs are open (1)")
	if got := h.openJobs(); got != 1 {
		h.Errorf("%d failed jobs are open, want 1", got)
	}
}

func downOutbox(h *house) {
	h.sample(10)
	h.place("a")
	h.down("outbox")
	h.stays("transactions have events that are not published (1)")
	if err := h.Migrate(h.Context()); err != nil { // a server publishes them
		h.Fatal(err)
	}
	if got := h.owed(longAgo); len(got) != 1 {
		h.Errorf("%d transactions have events to publish, want 1", len(got))
	}
	h.publish()
	h.down("outbox")
	if got := h.lastStep().Rows; got != 1 {
		h.Errorf("%d rows of the outbox would go, want the published one", got)
	}
	h.down("failed_jobs")
}

func downDone(h *house) {
	h.sample(10)
	h.buried()
	worker := h.under(AtOnce())
	claim := worker.abandon(worker.job().OrderID)
	worker.settle(report(claim, order.KindVoid, order.Succeeded))
	if got := worker.openJobs(); got != 0 {
		h.Fatalf("%d failed jobs are open", got)
	}
	if err := worker.Close(); err != nil {
		h.Fatal(err)
	}
	h.publish()
	h.down("failed_jobs")
	if got := h.lastStep().Rows; got != 1 {
		h.Errorf("%d failed jobs would go, want the resolved one", got)
	}
	h.down("payments")
}
