package config

import (
	"fmt"
	"time"
)

// LeaseMargin is what a lease must have over the charge time-out: the time to write down what the gateway said, which
// is the longest that a transaction may take.
const LeaseMargin = 5 * time.Second

// Validate says whether the settings fit together; the error names the settings and shows their values. What a single
// value may be is known since it was parsed. The parser of the command line calls this, and the groups' own, by itself.
func (s Settings) Validate() error {
	if err := s.Intake.Validate(); err != nil {
		return err
	}
	if err := s.Worker.Validate(); err != nil {
		return err
	}
	switch workerOnly := s.Roles == (Roles{Worker: true}); {
	case s.DatabaseRead != URL{} && !s.Database.MySQL():
		return fmt.Errorf("--database-read (%s) is a replica of a MySQL database, and --database is %s", s.DatabaseRead, s.Database)
	case s.Database.MySQL() && s.Redis == URL{} && (!s.Roles.API || !s.Roles.Worker):
		return fmt.Errorf("--roles %s over MySQL (--database %s) needs --redis: it hands the workers what the API takes in, and streams "+
			"what the workers have done", s.Roles, s.Database)
	case s.Roles == Roles{Realtime: true} && s.Redis == URL{}:
		return fmt.Errorf("--roles realtime needs --redis, or the roles api and worker beside it: else it hears of no order")
	case s.Roles.Realtime && s.Database.MySQL() && s.Redis != URL{} && s.RealtimeSecret == Secret{}:
		return fmt.Errorf("--roles %s over MySQL and Redis needs --realtime-secret, the same for every process: what one has signed is shown to "+
			"another", s.Roles)
	case s.Addr == AddrOff && s.Roles.API:
		return fmt.Errorf("--addr off is only for processes without the role api, and --roles is %s", s.Roles)
	case s.MaxTime > 0 && !workerOnly:
		return fmt.Errorf("--max-time (%s) is only for --roles worker, and --roles is %s", printDuration(s.MaxTime), s.Roles)
	case s.Samples && s.Auth == AuthRequired:
		return fmt.Errorf("--samples does not go with --auth required: everybody knows the password of the sample users; remove --samples, " +
			"and add products and users of your own")
	case s.Roles.API && !s.Addr.Loopback() && s.Auth == "":
		return fmt.Errorf("--addr (%s) can be reached from other machines, and whoever reaches it may order for any user: say --auth required, "+
			"so that callers need a token, or --auth optional if that is meant, or listen on a loopback address such as 127.0.0.1:8000", s.Addr)
	}
	return nil
}

// Validate says whether the settings of the intake fit together.
func (i Intake) Validate() error {
	if i.QueueMax < i.BatchMax {
		return fmt.Errorf("--queue-max (%d) must be at least --batch-max (%d): a batch is filled from the queue", i.QueueMax, i.BatchMax)
	}
	return nil
}

// Validate says whether the settings of the worker fit together.
func (w Worker) Validate() error {
	if w.ChargeTimeout+LeaseMargin >= w.Lease {
		return fmt.Errorf("--lease (%s) must be longer than --charge-timeout (%s) and %s to write the answer down: "+
			"else another worker takes the order over while its charge is on the way",
			printDuration(w.Lease), printDuration(w.ChargeTimeout), printDuration(LeaseMargin))
	}
	return nil
}
