package config

import (
	"fmt"
	"time"
)

// LeaseMargin is the least difference between the lease and the charge time-out: the time limit of the transaction that records the
// gateway's answer.
const LeaseMargin = 5 * time.Second

// Validate returns an error when settings contradict each other. The error names the settings and shows their values. The parser of
// the command line calls this method and those of the groups.
func (s Settings) Validate() error {
	if err := s.Intake.Validate(); err != nil {
		return err
	}
	if err := s.Leases.Validate(); err != nil {
		return err
	}
	switch workerOnly := s.Roles == (Roles{Worker: true}); {
	case s.DatabaseRead != URL{} && (!s.Database.OnServer() || s.DatabaseRead.Engine() != s.Database.Engine()):
		return fmt.Errorf("--database-read (%s) must be a replica of the database server, and --database is %s: "+
			"set --database to the primary, or remove --database-read",
			s.DatabaseRead, s.Database)
	case s.Database.OnServer() && s.Redis == URL{} && (!s.Roles.API || !s.Roles.Worker):
		return fmt.Errorf("--roles %s over %s (--database %s) needs --redis: api and worker processes exchange events through it; "+
			"set --redis, or run the roles api and worker in one process", s.Roles, s.Database.Engine(), s.Database)
	case s.Roles == Roles{Realtime: true} && s.Redis == URL{}:
		return fmt.Errorf("--roles realtime needs --redis, through which it receives the events of orders: " +
			"set --redis, or add the roles api and worker")
	case s.Roles.Realtime && s.Database.OnServer() && s.Redis != URL{} && s.RealtimeSecret == Secret{}:
		return fmt.Errorf("--roles %s over %s and Redis needs --realtime-secret: set the same value for every process, since one verifies what "+
			"another has signed", s.Roles, s.Database.Engine())
	case s.Addr == AddrOff && s.Roles.API:
		return fmt.Errorf("--addr off is only for processes without the role api, and --roles is %s: set --addr to HOST:PORT", s.Roles)
	case s.MaxTime > 0 && !workerOnly:
		return fmt.Errorf("--max-time (%s) is only for --roles worker, and --roles is %s: remove it, or run the workers in a process of their own",
			printDuration(s.MaxTime), s.Roles)
	case s.Samples && s.Auth == AuthRequired:
		return fmt.Errorf("--samples cannot be used with --auth required, since the password of the sample users is public: remove --samples, " +
			"and add your own products and users")
	case s.Roles.API && !s.Addr.Loopback() && s.Auth == "":
		return fmt.Errorf("--addr (%s) can be reached from other machines, and --auth is not set: "+
			"set --auth required, so that every request needs a token; or --auth optional, so that any client may order for any user; "+
			"or listen on a loopback address such as 127.0.0.1:8000", s.Addr)
	}
	return nil
}

// Validate checks the queue against the batch.
func (i Intake) Validate() error {
	if i.QueueMax < i.BatchMax {
		return fmt.Errorf("--queue-max (%d) must be at least --batch-max (%d), since batches are taken from the queue", i.QueueMax, i.BatchMax)
	}
	return nil
}

// Validate checks the lease against the charge time-out.
func (l Leases) Validate() error {
	if l.ChargeTimeout+LeaseMargin >= l.Lease {
		return fmt.Errorf("--lease (%s) must be longer than --charge-timeout (%s) plus %s to record the answer: "+
			"otherwise another worker claims the order during its charge",
			printDuration(l.Lease), printDuration(l.ChargeTimeout), printDuration(LeaseMargin))
	}
	return nil
}
