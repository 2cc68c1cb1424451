package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// errLost is the error of a connection whose COMMIT was sent and not answered.
var errLost = fmt.Errorf("no answer to COMMIT: %w", context.DeadlineExceeded)

// TestUnknownOutcome loses the answer to a COMMIT, before and after its execution: each request creates one order.
func TestUnknownOutcome(t *testing.T) {
	for name, done := range map[string]bool{"it was committed": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			s, path := sample(t, 100)
			drafts := []order.Draft{storetest.Draft(t, 1, "a", 1, 2), storetest.Draft(t, 2, "b", 2, 1), storetest.Draft(t, 3, "c", 5, 101)}
			s.FailCommit(done, errLost)
			answers, batch, err := s.CreateOrders(t.Context(), drafts)
			if done {
				if err != nil || answers[0].Err != nil || answers[0].Replayed || batch.ID == "" || len(batch.Events) != 2 {
					t.Fatalf("the transaction was committed, but the answers are %+v, %+v, %v", answers, batch, err)
				}
			} else if order.CodeOf(err) != order.CodeUnavailable {
				t.Fatalf("the transaction was not committed, but the error is %v", err)
			}
			again, _, err := s.CreateOrders(t.Context(), drafts)
			if err != nil {
				t.Fatal(err)
			}
			for i, a := range again[:2] {
				if a.Err != nil || a.Replayed != done {
					t.Errorf("repeated: %+v, want replayed %t", a, done)
				}
				if done && a.Order.ID != answers[i].Order.ID {
					t.Errorf("creator %d has orders %d and %d", i, answers[i].Order.ID, a.Order.ID)
				}
			}
			if got := storetest.Figure(t, s, 3, "orders"); got != 2 {
				t.Errorf("%d orders for two creators", got)
			}
			storetest.CheckInvariants(t, s)
			storetest.CheckInvariants(t, open(t, path, storetest.Rules()))
		})
	}
}

// TestUnknownOutcomeOfEveryWrite repeats each request after a lost answer, as the roles do, and checks the invariants.
func TestUnknownOutcomeOfEveryWrite(t *testing.T) {
	t.Parallel()
	for name, done := range map[string]bool{"it was committed": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			s, _ := sample(t, 100)
			ctx := t.Context()
			created, _, err := s.CreateOrders(ctx, []order.Draft{storetest.Draft(t, 1, "a", 1, 2), storetest.Draft(t, 2, "b", 2, 1)})
			if err != nil {
				t.Fatal(err)
			}
			a, b := created[0].Order.ID, created[1].Order.ID

			s.FailCommit(done, errLost)
			claims, _, err := s.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: 777}, {OrderID: a}})
			if done && (err != nil || claims[1].Task != order.TaskCharge) {
				t.Fatalf("a committed claim: %+v, %v", claims, err)
			}
			if !done {
				if order.CodeOf(err) != order.CodeUnavailable {
					t.Fatalf("a claim that was not committed: %+v, %v", claims, err)
				}
				if claims, _, err = s.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: 777}, {OrderID: a}}); err != nil || claims[1].Task != order.TaskCharge {
					t.Fatalf("claimed again: %+v, %v", claims, err)
				}
			}

			s.FailCommit(done, errLost)
			reports := []order.Settlement{{
				OrderID: a, Claim: 1, Lease: claims[1].Order.Lease, Kind: order.KindCharge, Outcome: order.Declined, Reason: "reason",
			}}
			if settled, batch, err := s.SettleOrders(ctx, reports); done && (err != nil || settled[0].Order.Status != order.Failed || batch.ID == "") {
				t.Errorf("a committed settlement: %+v, %+v, %v", settled, batch, err)
			}
			if settled, _, err := s.SettleOrders(ctx, reports); err != nil || settled[0].Order.Status != order.Failed {
				t.Errorf("settled again: %+v, %v", settled, err)
			}

			s.FailCommit(done, errLost)
			if cancelled, _, err := s.CancelOrders(ctx, []order.CancelRequest{{OrderID: b}}); done && (err != nil || cancelled[0].Err != nil) {
				t.Errorf("a committed cancellation: %+v, %v", cancelled, err)
			}
			if cancelled, _, err := s.CancelOrders(ctx, []order.CancelRequest{{OrderID: b}}); err != nil || cancelled[0].Err != nil {
				t.Errorf("cancelled again: %+v, %v", cancelled, err)
			}
			unknownProductWrites(t, s, done)
			storetest.CheckInvariants(t, s)
			products, err := s.Products(ctx)
			if err != nil || products[0].Stock != 100 || products[1].Stock != 100 {
				t.Errorf("the stock is %d and %d afterwards (%v)", products[0].Stock, products[1].Stock, err)
			}
		})
	}
}

// unknownProductWrites repeats the requests of an administrator after a lost answer: each takes effect once. Their result is a new
// product and two units of product 3.
func unknownProductWrites(t *testing.T, s *store.Store, done bool) {
	t.Helper()
	ctx := t.Context()
	draft := []order.ProductDraft{{Key: "k", Name: "New", Price: 5_00, Stock: 3, Active: true}}
	s.FailCommit(done, errLost)
	if _, err := s.CreateProducts(ctx, draft); order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("a new product without an answer: %v", err)
	}
	added, err := s.CreateProducts(ctx, draft)
	if err != nil || added[0].Err != nil || added[0].Replayed != done || added[0].Product.ID != 6 || added[0].Product.Stock != 3 {
		t.Errorf("a new product, repeated: %+v, %v", added, err)
	}
	restock := []order.Restock{{ProductID: 3, Quantity: 2, Reason: "r", Key: "k"}}
	s.FailCommit(done, errLost)
	if _, err := s.Restock(ctx, restock); order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("a restock without an answer: %v", err)
	}
	moved, err := s.Restock(ctx, restock)
	if err != nil || moved[0].Err != nil || moved[0].Replayed != done || moved[0].Product.Stock != 102 {
		t.Errorf("a restock, repeated: %+v, %v", moved, err)
	}
	active := false
	change := []order.ProductChange{{ProductID: 3, Active: &active}}
	s.FailCommit(done, errLost)
	if _, err := s.ChangeProducts(ctx, change); order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("a change without an answer: %v", err)
	}
	changed, err := s.ChangeProducts(ctx, change)
	if err != nil || changed[0].Err != nil || changed[0].Product.Active || changed[0].Product.Stock != 102 {
		t.Errorf("a change, repeated: %+v, %v", changed, err)
	}
}

// TestOutcomeStaysUnknown: when the commit marker cannot be looked up either, the error does not claim that the transaction failed.
func TestOutcomeStaysUnknown(t *testing.T) {
	s, path := sample(t, 100)
	s.FailCommit(true, errLost)
	s.CloseReader()
	draft := []order.Draft{storetest.Draft(t, 1, "a", 1, 2)}
	_, _, err := s.CreateOrders(t.Context(), draft)
	var coded *order.Error
	if !errors.As(err, &coded) || coded.Code != order.CodeUnavailable || !strings.Contains(coded.Message, "try again with the same key") {
		t.Errorf("%v", err)
	}
	answers, _, err := open(t, path, storetest.Rules()).CreateOrders(t.Context(), draft)
	if err != nil || !answers[0].Replayed {
		t.Errorf("repeated: %+v, %v", answers, err)
	}
}

// TestMarksSurviveALostCommit: marks are forgotten only once they are written.
func TestMarksSurviveALostCommit(t *testing.T) {
	for name, done := range map[string]bool{"it was committed": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			s, _ := sample(t, 100)
			_, batch, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1)})
			if err != nil {
				t.Fatal(err)
			}
			s.MarkPublished([]string{batch.ID})
			s.FailCommit(done, errLost)
			_ = s.FlushPublished(t.Context())
			if got := s.Remembered(); got != 1 { // a mark is not a commit marker, so it is written again
				t.Errorf("%d marks are remembered, want 1", got)
			}
			if err := s.FlushPublished(t.Context()); err != nil || s.Remembered() != 0 {
				t.Errorf("%d marks left, %v", s.Remembered(), err)
			}
			if got := storetest.Figure(t, s, 8, "unpublished"); got != 0 {
				t.Errorf("%d outbox rows are unpublished, want none", got)
			}
		})
	}
}

func TestMarksAreBounded(t *testing.T) {
	s, _ := sample(t, 1)
	s.MarkPublished(make([]string, store.PublishedMax-1))
	s.MarkPublished(make([]string, 5))
	if got := s.Remembered(); got != store.PublishedMax {
		t.Errorf("%d marks are remembered", got)
	}
	if err := s.FlushPublished(t.Context()); err != nil || s.Remembered() != 0 {
		t.Errorf("%d marks left, %v", s.Remembered(), err)
	}
}

// TestRunWritesMarks: Run writes the marks when no other write does.
func TestRunWritesMarks(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, 1)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.MarkPublished([]string{"some batch"})
	for deadline := time.Now().Add(10 * store.MarkAfter); s.Remembered() > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the mark is still not written")
		}
		if err := s.Ping(ctx); err != nil { // a request between the checks
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPanicRollsBack(t *testing.T) {
	s, _ := sample(t, 10)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.Write(t.Context(), func() error { panic("work fell over") })
	}()
	answers, _, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "a", 1, 1)})
	if err != nil || answers[0].Err != nil {
		t.Errorf("after a panic: %+v, %v", answers, err)
	}
	storetest.CheckInvariants(t, s)
}

func TestErrorRollsBack(t *testing.T) {
	s, _ := sample(t, 10)
	fault := errors.New("the member's own fault")
	if err := s.Write(t.Context(), func() error { return fault }); !errors.Is(err, fault) || order.CodeOf(err) != order.CodeInternal {
		t.Errorf("%v", err)
	}
	coded := order.NotFound("It")
	if err := s.Write(t.Context(), func() error { return coded }); order.CodeOf(err) != order.CodeNotFound {
		t.Errorf("%v", err)
	}
	if err := s.Write(t.Context(), func() error { return nil }); err != nil {
		t.Errorf("after both: %v", err)
	}
}

// TestStuckWriter: while one transaction keeps the writer, other callers wait no longer than the limit.
func TestStuckWriter(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, 10)
	release := s.HoldWriter(t.Context())
	s.AllowTime(time.Millisecond)
	err := s.Write(t.Context(), func() error { t.Error("it was run"); return nil })
	if order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("behind a stuck writer: %v", err)
	}
	release()
	s.AllowTime(patience)
	if err := s.Write(t.Context(), func() error { return nil }); err != nil {
		t.Errorf("after the writer was released: %v", err)
	}
}

func TestClose(t *testing.T) {
	s, _ := sample(t, 10)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	err := s.Write(t.Context(), func() error { return nil })
	if order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "closed") { // it does not wait for a writer
		t.Errorf("a write: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a closed database answers")
	}
	if err := s.Migrate(t.Context()); order.CodeOf(err) != order.CodeUnavailable {
		t.Errorf("migrate: %v", err)
	}
}

func TestObserve(t *testing.T) {
	var names []string
	s, err := store.Open(t.Context(), "sqlite:"+newFile(t), store.Options{
		Rules: storetest.Rules(),
		Observe: func(name string, waited, took time.Duration) {
			names = append(names, fmt.Sprint(name, waited >= 0 && took > 0))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_ = s.Write(t.Context(), func() error { return errors.New("fault") })
	_, _, err = s.CancelOrders(t.Context(), []order.CancelRequest{{OrderID: 1}})
	if got := strings.Join(names, " "); err != nil || got != "testtrue canceltrue" {
		t.Errorf("observed %s, %v", got, err)
	}
}
