package main

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"contract/ogen"
)

// bearer is a token as ogen's client asks for it.
type bearer string

func (b bearer) Bearer(context.Context, ogen.OperationName) (ogen.Bearer, error) {
	return ogen.Bearer{Token: string(b)}, nil
}

// kind is the name of the type that ogen has for an answer.
func kind(answer any) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", answer), "*ogen.")
}

// callOgen calls every operation with ogen's client.
func callOgen(ctx context.Context, c *checks, base, token string) error {
	client, err := ogen.NewClient(base, bearer(token))
	if err != nil {
		return err
	}
	made, err := client.CreateOrder(ctx, &ogen.OrderRequest{
		UserID: 1, IdempotencyKey: ogen.NewOptString("ogen"), Items: []ogen.Line{{ProductID: 2, Quantity: 1}},
	}, ogen.CreateOrderParams{})
	created, ok := made.(*ogen.CreateOrderCreatedHeaders)
	if !ok {
		return fmt.Errorf("CreateOrder was answered with %s, error: %v", kind(made), err)
	}
	c.called["CreateOrder"] = true
	order := created.Response.Data.ID

	lamp, err := client.CreateProduct(ctx, &ogen.ProductRequest{
		IdempotencyKey: ogen.NewOptString("ogen"), Name: "Lamp", Price: "29.97", Stock: ogen.NewOptInt(5),
	}, ogen.CreateProductParams{})
	added, ok := lamp.(*ogen.CreateProductCreatedHeaders)
	if !ok {
		return fmt.Errorf("CreateProduct was answered with %s, error: %v", kind(lamp), err)
	}
	c.called["CreateProduct"] = true
	product := added.Response.Data.ID

	for operation, call := range map[string]struct {
		want string
		call func() (any, error)
	}{
		"ShowOrder": {"OrderAnswerHeaders", func() (any, error) { return client.ShowOrder(ctx, ogen.ShowOrderParams{ID: order}) }},
		"ListOrders": {"OrderListHeaders", func() (any, error) {
			return client.ListOrders(ctx, ogen.ListOrdersParams{Cursor: ogen.NewOptString("")})
		}},
		"CancelOrder": {"OrderAnswerHeaders or CancelInvalidHeaders", func() (any, error) { return client.CancelOrder(ctx, ogen.CancelOrderParams{ID: order}) }},
		"OrderEvents": {"EventListHeaders", func() (any, error) { return client.OrderEvents(ctx, ogen.OrderEventsParams{ID: order}) }},
		"ChangeProduct": {"ProductAnswerHeaders or CreateProductCreatedHeaders", func() (any, error) {
			return client.ChangeProduct(ctx, &ogen.ProductChange{Active: ogen.NewOptBool(false)}, ogen.ChangeProductParams{ID: product})
		}},
		"RestockProduct": {"RestockProductCreatedHeaders", func() (any, error) {
			return client.RestockProduct(ctx, &ogen.RestockRequest{IdempotencyKey: ogen.NewOptString("ogen"), Quantity: -2, Reason: "broken"},
				ogen.RestockProductParams{ID: product})
		}},
		"AuthorizeChannel": {"ChannelAnswerHeaders", func() (any, error) {
			return client.AuthorizeChannel(ctx, &ogen.AuthorizeChannelApplicationJSON{SocketID: "1.2", ChannelName: "private-orders.1"}, ogen.AuthorizeChannelParams{})
		}},
		"AbandonFailedJob": {"NotFoundHeaders", func() (any, error) { return client.AbandonFailedJob(ctx, ogen.AbandonFailedJobParams{ID: missing}) }},
		"RetryFailedJob":   {"NotFoundHeaders", func() (any, error) { return client.RetryFailedJob(ctx, ogen.RetryFailedJobParams{ID: missing}) }},
		"ListFailedJobs":   {"FailedJobListHeaders", func() (any, error) { return client.ListFailedJobs(ctx, ogen.ListFailedJobsParams{}) }},
		"ListProducts":     {"ProductListHeaders", func() (any, error) { return client.ListProducts(ctx, ogen.ListProductsParams{}) }},
		"Stats":            {"StatsHeaders", func() (any, error) { return client.Stats(ctx, ogen.StatsParams{}) }},
		"Audit":            {"AuditReportHeaders", func() (any, error) { return client.Audit(ctx, ogen.AuditParams{}) }},
		"Health":           {"HealthOK", func() (any, error) { return client.Health(ctx, ogen.HealthParams{}) }},
		"Index":            {"IndexHeaders", func() (any, error) { return client.Index(ctx) }},
		"Live":             {"ProbeHeaders", func() (any, error) { return client.Live(ctx) }},
		"Ready":            {"ProbeHeaders", func() (any, error) { return client.Ready(ctx) }},
		"Metrics":          {"MetricsOKHeaders", func() (any, error) { return client.Metrics(ctx) }},
		"Document":         {"DocumentOKHeaders", func() (any, error) { return client.Document(ctx, ogen.DocumentParams{}) }},
		"Docs":             {"DocsOKHeaders", func() (any, error) { return client.Docs(ctx) }},
		"DocsScript":       {"DocsScriptOKHeaders", func() (any, error) { return client.DocsScript(ctx, ogen.DocsScriptParams{}) }},
	} {
		answer, err := call.call()
		c.expect(operation, err, kind(answer), call.want)
	}
	in, err := client.LogIn(ctx, &ogen.LogInRequest{Email: "alice@example.com", Password: "password"}, ogen.LogInParams{})
	c.expect("LogIn", err, kind(in), "TokenAnswerHeaders")
	if answer, ok := in.(*ogen.TokenAnswerHeaders); ok { // a client that takes its own token back
		own, err := ogen.NewClient(base, bearer(answer.Response.Data.Token))
		if err != nil {
			return err
		}
		out, err := own.LogOut(ctx, ogen.LogOutParams{})
		c.expect("LogOut", err, kind(out), "LogOutNoContent")
	}
	c.complete(reflect.TypeFor[ogen.Invoker](), "")
	return nil
}
