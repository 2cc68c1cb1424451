package storetest

import (
	"strings"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var downTests = map[string]func(*testEnv){
	"reports what it deletes":        downDeletes,
	"renamed columns keep values":    downRenames,
	"keeps open failed jobs":         downJobs,
	"keeps events not published":     downOutbox,
	"takes back what was agreed to":  downAgreed,
	"resolved and published rows go": downDone,
}

// lastStep returns the last step, and fails the test on an error.
func (env *testEnv) lastStep() store.LastStep {
	env.Helper()
	last, err := env.LastStep(env.Context())
	if err != nil {
		env.Fatal(err)
	}
	return last
}

// down takes steps back until the last one deletes rows of this table.
func (env *testEnv) down(table string) {
	env.Helper()
	for {
		last, err := env.LastStep(env.Context())
		if last.Table == table {
			return
		}
		if err == nil {
			err = env.MigrateDown(env.Context(), last.Version)
		}
		if err != nil {
			env.Fatalf("on the way down to %s: %v", table, err)
		}
	}
}

// stays checks that the last step is refused with a text, and is still there.
func (env *testEnv) stays(want string) {
	env.Helper()
	last, err := env.LastStep(env.Context())
	if order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), want) {
		env.Errorf("the last step: %v, want an error with %q", err, want)
	}
	if err := env.MigrateDown(env.Context(), last.Version); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), want) {
		env.Errorf("taking it back: %v, want an error with %q", err, want)
	}
	if again, _ := env.LastStep(env.Context()); again.Version != last.Version {
		env.Errorf("migration %d was reverted all the same", last.Version)
	}
}

// publish marks every event as published.
func (env *testEnv) publish() {
	env.Helper()
	var ids []string
	for _, batch := range env.unpublished(longAgo) {
		ids = append(ids, batch.ID)
	}
	env.MarkPublished(ids)
	if err := env.FlushPublished(env.Context()); err != nil {
		env.Fatal(err)
	}
}

func downDeletes(env *testEnv) {
	env.sample(10)
	for _, name := range []string{"a", "b"} {
		env.token(name, order.Token{UserID: 1, Name: name})
	}
	want := []store.LastStep{
		{Version: 22, Name: "00022_field_names"},
		{Version: 21, Name: "00021_outbox_refusals", Table: "outbox_refusals"},
		{Version: 20, Name: "00020_api_tokens", Table: "api_tokens", Rows: 2},
		{Version: 19, Name: "00019_outbox_paid_index"},
		{Version: 18, Name: "00018_outbox", Table: "outbox"},
	}
	for _, step := range want {
		if diff := cmp.Diff(step, env.lastStep()); diff != "" {
			env.Errorf("(-want +got):\n%s", diff)
		}
		if err := env.MigrateDown(env.Context(), step.Version); err != nil {
			env.Fatal(err)
		}
	}
	env.down("stock_movements")
	if got := env.lastStep().Rows; got < 5 {
		env.Errorf("%d movements, want one for each sample product at least", got)
	}
	env.down("products")
	if got := env.lastStep().Rows; got != 5 {
		env.Errorf("%d products, want 5", got)
	}
	env.down("installation")
	emptied := store.LastStep{Version: 2, Name: "00002_installation_id", Table: "installation", RowsOnly: true, Rows: 1}
	if diff := cmp.Diff(emptied, env.lastStep()); diff != "" {
		env.Errorf("a step that empties a table (-want +got):\n%s", diff)
	}
}

// downRenames goes below the step that renames columns, to a database as earlier builds made it, and up again.
func downRenames(env *testEnv) {
	env.sample(10)
	env.withFailedJob()
	id := env.place("k").ID
	want, waiting := env.read(id), len(env.unpublished(longAgo))
	env.down("outbox_refusals")
	if err := env.Migrate(env.Context()); err != nil {
		env.Fatal(err)
	}
	if diff := cmp.Diff(want, env.read(id)); diff != "" {
		env.Errorf("an order (-before +after):\n%s", diff)
	}
	if job := env.read(env.job().OrderID); job.Claims == 0 {
		env.Errorf("the order of the failed job has no claims: %+v", job)
	}
	if got := len(env.unpublished(longAgo)); got != waiting {
		env.Errorf("%d outbox rows are unpublished, want %d", got, waiting)
	}
	env.checkInvariants()
}

func downAgreed(env *testEnv) {
	last := env.lastStep()
	if err := env.MigrateDown(env.Context(), last.Version-1); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "another process") {
		env.Errorf("a step that is not the last: %v", err)
	}
	if got := env.lastStep(); got != last {
		env.Errorf("the last step is %v by now", got)
	}
}

// withFailedJob has an order whose payment is a failed job, by a store of its own, which has ended.
func (env *testEnv) withFailedJob() {
	env.Helper()
	worker := env.under(AtOnce())
	worker.exhaustAttempts(worker.place("k").ID)
	if err := worker.Close(); err != nil {
		env.Fatal(err)
	}
}

func downJobs(env *testEnv) {
	env.sample(10)
	env.withFailedJob()
	env.publish()
	env.down("outbox")
	env.stays("failed jobs are open (1)")
	if got := env.openJobs(); got != 1 {
		env.Errorf("%d failed jobs are open, want 1", got)
	}
}

func downOutbox(env *testEnv) {
	env.sample(10)
	env.place("a")
	env.down("outbox")
	env.stays("transactions have events that are not published (1)")
	if err := env.Migrate(env.Context()); err != nil { // a server publishes them
		env.Fatal(err)
	}
	if got := env.unpublished(longAgo); len(got) != 1 {
		env.Errorf("%d transactions have events to publish, want 1", len(got))
	}
	env.publish()
	env.down("outbox")
	if got := env.lastStep().Rows; got != 1 {
		env.Errorf("%d rows of the outbox would go, want the published one", got)
	}
	env.down("failed_jobs")
}

func downDone(env *testEnv) {
	env.sample(10)
	env.withFailedJob()
	worker := env.under(AtOnce())
	claim := worker.abandon(worker.job().OrderID)
	worker.settle(report(claim, order.KindVoid, order.Succeeded))
	if got := worker.openJobs(); got != 0 {
		env.Fatalf("%d failed jobs are open", got)
	}
	if err := worker.Close(); err != nil {
		env.Fatal(err)
	}
	env.publish()
	env.down("failed_jobs")
	if got := env.lastStep().Rows; got != 1 {
		env.Errorf("%d failed jobs would go, want the resolved one", got)
	}
	env.down("payments")
}
