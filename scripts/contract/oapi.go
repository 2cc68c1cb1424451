package main

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"contract/oapi"
)

// answered is an answer as oapi-codegen's client returns it.
type answered interface{ StatusCode() int }

// status is the status of an answer that a client could read, with its decoded body where the document promises one.
func status(answer answered) string {
	if reflect.ValueOf(answer).IsNil() {
		return "nothing"
	}
	return strconv.Itoa(answer.StatusCode())
}

// withToken sends a token with each request.
func withToken(token string) oapi.ClientOption {
	return oapi.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	})
}

// callOapi calls every operation with oapi-codegen's client.
func callOapi(ctx context.Context, c *checks, base, token string) error {
	client, err := oapi.NewClientWithResponses(base, withToken(token))
	if err != nil {
		return err
	}
	key, off, cursor, in := "oapi", false, "", oapi.LogInRequest{Email: "alice@example.com", Password: "password"}
	made, err := client.CreateOrderWithResponse(ctx, nil, oapi.OrderRequest{
		UserId: 1, IdempotencyKey: &key, Items: []oapi.Line{{ProductId: 2, Quantity: 1}},
	})
	if err != nil || made.JSON201 == nil {
		return fmt.Errorf("CreateOrder was answered with %s, error: %w", status(made), err)
	}
	c.called["CreateOrder"] = true
	order := made.JSON201.Data.Id
	added, err := client.CreateProductWithResponse(ctx, nil, oapi.ProductRequest{IdempotencyKey: &key, Name: "Lamp", Price: "29.97"})
	if err != nil || added.JSON201 == nil {
		return fmt.Errorf("CreateProduct was answered with %s, error: %w", status(added), err)
	}
	c.called["CreateProduct"] = true
	product := added.JSON201.Data.Id

	for operation, call := range map[string]struct {
		want string
		call func() (answered, error)
	}{
		"ShowOrder": {"200", func() (answered, error) { return client.ShowOrderWithResponse(ctx, order, nil) }},
		"ListOrders": {"200", func() (answered, error) {
			return client.ListOrdersWithResponse(ctx, &oapi.ListOrdersParams{Cursor: &cursor})
		}},
		"CancelOrder": {"200 or 422", func() (answered, error) { return client.CancelOrderWithResponse(ctx, order, nil) }},
		"OrderEvents": {"200", func() (answered, error) { return client.OrderEventsWithResponse(ctx, order, nil) }},
		"ChangeProduct": {"200", func() (answered, error) {
			return client.ChangeProductWithResponse(ctx, product, nil, oapi.ProductChange{Active: &off})
		}},
		"RestockProduct": {"201", func() (answered, error) {
			return client.RestockProductWithResponse(ctx, product, nil, oapi.RestockRequest{IdempotencyKey: &key, Quantity: 2, Reason: "delivery"})
		}},
		"AuthorizeChannel": {"200", func() (answered, error) {
			return client.AuthorizeChannelWithResponse(ctx, nil, oapi.ChannelRequest{SocketId: "1.2", ChannelName: "private-orders.1"})
		}},
		"AuthorizeChannelWithFormdata": {"200", func() (answered, error) {
			return client.AuthorizeChannelWithFormdataBodyWithResponse(ctx, nil, oapi.ChannelRequest{SocketId: "1.2", ChannelName: "private-orders.1"})
		}},
		"AbandonFailedJob": {"404", func() (answered, error) { return client.AbandonFailedJobWithResponse(ctx, missing, nil) }},
		"RetryFailedJob":   {"404", func() (answered, error) { return client.RetryFailedJobWithResponse(ctx, missing, nil) }},
		"ListFailedJobs":   {"200", func() (answered, error) { return client.ListFailedJobsWithResponse(ctx, nil) }},
		"ListProducts":     {"200", func() (answered, error) { return client.ListProductsWithResponse(ctx, nil) }},
		"Stats":            {"200", func() (answered, error) { return client.StatsWithResponse(ctx, nil) }},
		"Audit":            {"200", func() (answered, error) { return client.AuditWithResponse(ctx, nil) }},
		"Health":           {"200", func() (answered, error) { return client.HealthWithResponse(ctx, nil) }},
		"Index":            {"200", func() (answered, error) { return client.IndexWithResponse(ctx) }},
		"Live":             {"200", func() (answered, error) { return client.LiveWithResponse(ctx) }},
		"Ready":            {"200", func() (answered, error) { return client.ReadyWithResponse(ctx) }},
		"Metrics":          {"200", func() (answered, error) { return client.MetricsWithResponse(ctx) }},
		"Document":         {"200", func() (answered, error) { return client.DocumentWithResponse(ctx, nil) }},
		"Docs":             {"200", func() (answered, error) { return client.DocsWithResponse(ctx) }},
		"DocsScript":       {"200", func() (answered, error) { return client.DocsScriptWithResponse(ctx, nil) }},
	} {
		answer, err := call.call()
		c.expect(operation, err, status(answer), call.want)
	}
	session, err := client.LogInWithResponse(ctx, nil, in)
	c.expect("LogIn", err, status(session), "201")
	if session != nil && session.JSON201 != nil { // a client that takes its own token back
		own, err := oapi.NewClientWithResponses(base, withToken(session.JSON201.Data.Token))
		if err != nil {
			return err
		}
		out, err := own.LogOutWithResponse(ctx, nil)
		c.expect("LogOut", err, status(out), "204")
	}
	c.complete(reflect.TypeFor[oapi.ClientWithResponsesInterface](), "WithResponse")
	return nil
}
