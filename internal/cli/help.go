package cli

import (
	"strings"

	"github.com/alecthomas/kong"
)

// details are the texts below the first line of a command's help: what the user has to know, and examples. A line that is
// indented stays as it is.
func details() map[string]string {
	return map[string]string{
		"serve": `Serves the API, the console, payments and WebSockets in one process over an SQLite file. With --roles it runs some of them, over MySQL
and Redis on any number of machines. The schema is migrated at start. SIGTERM finishes the current work and exits within 30s.

Examples:

  orderflow serve --samples
  orderflow serve --roles worker --database mysql://shop:secret@db:3306/shop --redis redis://cache:6379
  orderflow serve --addr :8000 --auth required`,

		"demo": `Places an order and shows its payment, lets 50 buyers race for the last item, sends one order 50 times, and audits the result. It starts
a server and a database of its own and removes both.

Example:

  orderflow demo`,

		"migrate": `Examples:

  orderflow migrate up
  orderflow migrate status --database mysql://shop:secret@db:3306/shop`,

		"migrate up": `Creates the database if there is none. Refused while a server uses an SQLite database.

Example:

  orderflow migrate up --database mysql://shop:secret@db:3306/shop`,

		"migrate down": `Names the migration and the rows that it deletes, and asks before it reverts the migration. Refused while a server uses an SQLite
database, and while the migration would delete unpublished events or open failed jobs.

Example:

  orderflow migrate down --yes`,

		"migrate status": `Example:

  orderflow migrate status`,

		"migrate fresh": `Deletes all orders, products and users, and asks before it does. Refused while a server uses an SQLite database.

Example:

  orderflow migrate fresh --yes`,

		"seed": `Adds five products and the users alice@example.com, bob@example.com and charlie@example.com with the password "password". Rows that exist stay
as they are. The flags add more rows, for load tests.

Examples:

  orderflow seed
  orderflow seed --products 100 --stock 1000000 --orders 50000`,

		"failed-jobs": `An order becomes a failed job when its last payment attempt got no answer. It stays PROCESSING until an operator retries or abandons it.

Examples:

  orderflow failed-jobs list
  orderflow failed-jobs retry 7
  orderflow failed-jobs abandon 7 --gateway https://pay.example/v1`,

		"failed-jobs list": `Example:

  orderflow failed-jobs list`,

		"failed-jobs retry": `A worker of a running server charges the order again at once, with all payment attempts.

Example:

  orderflow failed-jobs retry 7`,

		"failed-jobs abandon": `Once the gateway has confirmed the void, the order is FAILED and its stock is restored. Set the same --gateway as the server.

Example:

  orderflow failed-jobs abandon 7 --gateway https://pay.example/v1`,

		"token": `Examples:

  orderflow token create --user alice@example.com --expires 720h
  orderflow token revoke 3`,

		"token create": `A token is for a user, for an admin, or for both. Only its hash is stored, so it is printed only once.

Examples:

  orderflow token create --user alice@example.com --expires 720h
  orderflow token create --admin --name backend`,

		"token revoke": `Running servers refuse the token within five seconds.

Example:

  orderflow token revoke 3`,

		"token list": `Example:

  orderflow token list`,

		"audit": `Prints each invariant with its figures, and the rows that violate it. It may run beside servers. With Redis it also checks that no event has stayed
unpublished.

Examples:

  orderflow audit
  orderflow audit --json --database mysql://shop:secret@db:3306/shop --redis redis://cache:6379`,

		"backup": `An existing file is not overwritten. For MySQL use its own tools, such as mariadb-dump.

Example:

  orderflow backup /var/backups/orderflow-monday.db`,

		"bench": `Without --url it starts private servers, child processes of this binary: over SQLite in a temporary folder; or, when --database names a MySQL
server and --redis a Redis, over a database orderflow_bench_… and a key prefix of its own, which it deletes at the end. The run ends with the audit.

--compare also loads a server with one transaction per order (unbatched), which has the same answers, rows and durability: with the row
locks of the database only, and with --redis again with a Redis lock per product.

Examples:

  orderflow bench --hot --compare
  orderflow bench --url http://127.0.0.1:8000 --database sqlite:orderflow.db
  orderflow bench --table --markdown`,

		"health": `Example:

  orderflow health --url http://127.0.0.1:8000`,

		"version": `Example:

  orderflow version`,

		"help": `Example:

  orderflow help migrate up`,

		"completion": `Example, for bash:

  orderflow completion bash >> ~/.bashrc`,
	}
}

// addDetails sets the details of every command.
func addDetails(k *kong.Kong) error {
	all := details()
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if command, ok := node.(*kong.Node); ok && command.Type == kong.CommandNode {
			path := command.Path()
			if rest, former := strings.CutPrefix(path, "jobs"); former {
				path = "failed-jobs" + rest
			}
			command.Detail = all[path]
		}
		return next(nil)
	})
}
