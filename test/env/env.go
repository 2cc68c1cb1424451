// Package env gives tests their servers: one MariaDB (or MySQL), one PostgreSQL, one Redis and one Redis Cluster for a test binary, each started
// when a test first needs it, and a database or a prefix of keys of its own for each test.
//
// ORDERFLOW_TEST_MYSQL (mysql://USER:PASSWORD@HOST:PORT/, whose user may create databases), ORDERFLOW_TEST_POSTGRES (postgres://…)
// and ORDERFLOW_TEST_REDIS (redis://…) point the tests at servers that run already, such as a MySQL 8; those are not killed by any test.
// ORDERFLOW_TEST_MYSQLD (see servers.EnvMySQLD) makes the servers that tests start MySQL.
package env

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // for Admin

	"orderflow/test/servers"
)

// Environment variables that point tests at running servers.
const (
	EnvMySQL    = "ORDERFLOW_TEST_MYSQL"
	EnvPostgres = "ORDERFLOW_TEST_POSTGRES"
	EnvRedis    = "ORDERFLOW_TEST_REDIS"
)

// shared are the servers of this test binary.
type shared struct {
	dir      func() (string, error)
	mariadb  func() ([]*servers.Server, error)
	postgres func() ([]*servers.Server, error)
	redis    func() ([]*servers.Server, error)
	cluster  func() ([]*servers.Server, error)

	mu      sync.Mutex
	started []*servers.Server
	folder  string

	building sync.Mutex
	built    map[string]string // paths of the product, by flags of go build
}

var binary = newShared() // a test binary has one TestMain, and its tests share the servers

func newShared() *shared {
	s := &shared{built: map[string]string{}}
	s.dir = sync.OnceValues(func() (string, error) {
		dir, err := servers.Folder()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.folder = dir
		return dir, err
	})
	start := func(launch func(ctx context.Context, dir string) ([]*servers.Server, error)) func() ([]*servers.Server, error) {
		return sync.OnceValues(func() ([]*servers.Server, error) {
			dir, err := s.dir()
			if err != nil {
				return nil, err
			}
			started, err := launch(context.Background(), dir)
			if err == nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.started = append(s.started, started...)
			}
			return started, err
		})
	}
	s.mariadb = start(func(ctx context.Context, dir string) ([]*servers.Server, error) {
		return one(servers.Database(ctx, dir))
	})
	s.postgres = start(func(ctx context.Context, dir string) ([]*servers.Server, error) {
		return one(servers.Postgres(ctx, dir, "fsync=off")) // no test kills it
	})
	s.redis = start(func(ctx context.Context, dir string) ([]*servers.Server, error) { return one(servers.Redis(ctx, dir)) })
	s.cluster = start(func(ctx context.Context, dir string) ([]*servers.Server, error) {
		return servers.RedisCluster(ctx, dir, 0)
	})
	return s
}

func one(server *servers.Server, err error) ([]*servers.Server, error) {
	return []*servers.Server{server}, err
}

// Run runs the tests of a binary and then ends the servers that they started. Call it in TestMain, and exit with its result.
func Run(m *testing.M) (code int) {
	defer func() {
		binary.mu.Lock()
		defer binary.mu.Unlock()
		for _, server := range binary.started {
			if err := server.Kill(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		if binary.folder != "" {
			_ = os.RemoveAll(binary.folder) // a temporary folder
		}
	}()
	return m.Run()
}

// Folder is a folder for the servers of one test; see servers.Folder. It is deleted with the test.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := servers.Folder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Started returns a server of one test, which is killed when the test ends.
func Started(t testing.TB, server *servers.Server, err error) *servers.Server {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	return server
}

// MySQL returns the address of a new, empty database, which is dropped with the test.
func MySQL(t testing.TB) string {
	t.Helper()
	base := os.Getenv(EnvMySQL)
	if base == "" {
		started, err := binary.mariadb()
		if err != nil {
			t.Fatal(err)
		}
		base = servers.MySQLURL(started[0].Addr(), "")
	}
	return NewDatabase(t, base)
}

// Postgres is MySQL with a PostgreSQL server.
func Postgres(t testing.TB) string {
	t.Helper()
	base := os.Getenv(EnvPostgres)
	if base == "" {
		started, err := binary.postgres()
		if err != nil {
			t.Fatal(err)
		}
		base = servers.PostgresURL(started[0].Addr(), "")
	}
	return NewDatabase(t, base)
}

// NewDatabase creates a database on the server at base (mysql://USER:PASSWORD@HOST:PORT/ or postgres://…), and drops it with the test.
func NewDatabase(t testing.TB, base string) string {
	t.Helper()
	name := "orderflow_test_" + strings.ToLower(rand.Text()[:12])
	db := Admin(t, base)
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	drop := "DROP DATABASE " + name
	if strings.HasPrefix(base, "postgres:") {
		drop += " WITH (FORCE)" // the test may have left sessions
	}
	t.Cleanup(func() {
		if _, err := db.Exec(drop); err != nil {
			t.Logf("drop the test's database: %v", err) // a test may have killed its server
		}
	})
	return strings.TrimSuffix(base, "/") + "/" + name
}

// Admin connects to the server at a mysql:// or postgres:// address, beside the product.
func Admin(t testing.TB, address string) *sql.DB {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme == "postgres" {
		db, err := sql.Open("pgx", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	config := mysql.NewConfig()
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.Net, config.Addr, config.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	config.Logger = &mysql.NopLogger{} // tests kill servers
	config.ParseTime, config.MultiStatements, config.InterpolateParams = true, true, true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Redis returns the address of a Redis server that tests share, and a prefix for the keys of this one.
func Redis(t testing.TB) (address, prefix string) {
	t.Helper()
	if base := os.Getenv(EnvRedis); base != "" {
		return base, newPrefix()
	}
	started, err := binary.redis()
	if err != nil {
		t.Fatal(err)
	}
	return servers.RedisURL(started[0].Addr()), newPrefix()
}

// RedisCluster is Redis with a cluster of three masters.
func RedisCluster(t testing.TB) (address, prefix string) {
	t.Helper()
	started, err := binary.cluster()
	if err != nil {
		t.Fatal(err)
	}
	return servers.RedisClusterURL(started), newPrefix()
}

func newPrefix() string { return "test-" + strings.ToLower(rand.Text()[:12]) + ":" }
