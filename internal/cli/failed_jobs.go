package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

type failedJobsCommand struct {
	List    failedJobsListCommand    `cmd:"" help:"List the open failed jobs."`
	Retry   failedJobsRetryCommand   `cmd:"" help:"Give an order all its payment attempts again, due now."`
	Abandon failedJobsAbandonCommand `cmd:"" help:"Void the charge at the gateway, and fail the order."`
}

// withFailedJobs opens the service for failed jobs.
func withFailedJobs(ctx context.Context, settings config.Settings, work func(*app.FailedJobService) error) error {
	return withSchema(ctx, settings, func(db *app.Database) error {
		service, err := db.FailedJobService(ctx)
		if err != nil {
			return err
		}
		return work(service)
	})
}

type failedJobsListCommand struct {
	config.Common
	config.Store
}

// Run lists the open failed jobs.
func (l failedJobsListCommand) Run(ctx context.Context, streams Streams) error {
	return withFailedJobs(ctx, databaseSettings(l.Store), func(service *app.FailedJobService) error {
		open, err := service.List(ctx)
		if err != nil {
			return err
		}
		if len(open) == 0 {
			_, err := fmt.Fprintln(streams.Out, "There are no failed jobs.")
			return err
		}
		rows := []string{"ID\tORDER\tATTEMPTS\tFAILED AT\tERROR"}
		for _, job := range open {
			rows = append(rows, fmt.Sprintf("%d\t%d\t%d\t%s\t%s",
				job.ID, job.OrderID, job.Attempts, job.FailedAt.UTC().Format(time.DateTime), oneLine(job.Error)))
		}
		return writeTable(streams.Out, rows)
	})
}

type failedJobsRetryCommand struct {
	config.Common
	config.Store
	config.Attempts
	ID int64 `arg:"" help:"Id of the failed job, as failed-jobs list shows it."`
}

// Run retries a failed job.
func (r failedJobsRetryCommand) Run(ctx context.Context, streams Streams) error {
	settings := databaseSettings(r.Store)
	settings.Attempts = r.Attempts
	return withFailedJobs(ctx, settings, func(service *app.FailedJobService) error {
		o, err := service.Retry(ctx, r.ID)
		if err == nil {
			_, err = fmt.Fprintf(streams.Out, "Order %d is due now. Payment attempts left: %d.\n", o.ID, o.AttemptsLeft)
		}
		return err
	})
}

type failedJobsAbandonCommand struct {
	config.Common
	config.Store
	config.Leases
	config.Payment
	ID int64 `arg:"" help:"Id of the failed job, as failed-jobs list shows it."`
}

// Run abandons a failed job.
func (a failedJobsAbandonCommand) Run(ctx context.Context, streams Streams, command *kong.Context) error {
	// A void at another gateway than the server's would succeed there, and leave the customer charged.
	if !wasSet(command, "gateway") {
		return usageError{errors.New("--gateway must be set: the charge is voided there, so name the payment gateway that the server uses")}
	}
	settings := databaseSettings(a.Store)
	settings.Leases, settings.Payment = a.Leases, a.Payment
	return withFailedJobs(ctx, settings, func(service *app.FailedJobService) error {
		o, err := service.Abandon(ctx, a.ID, app.Node("operator"))
		if err == nil {
			_, err = fmt.Fprintf(streams.Out, "Order %d is FAILED after %d claims; its stock is restored.\n", o.ID, o.Claims)
		}
		return err
	})
}
