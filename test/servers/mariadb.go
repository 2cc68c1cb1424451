package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// MariaDB starts a MariaDB server on a new, empty data folder below dir (see Folder), durable unless flags say
// otherwise: --NAME=VALUE, later ones win. Its user root has no password.
func MariaDB(ctx context.Context, dir string, flags ...string) (*Server, error) {
	s, err := newMariaDB(ctx, dir, flags...)
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// MySQLURL is the address of a database on a MariaDB server, as --database takes it.
func MySQLURL(addr, database string) string { return "mysql://root@" + addr + "/" + database }

// newMariaDB makes a server that is not started yet.
func newMariaDB(ctx context.Context, dir string, flags ...string) (*Server, error) {
	const packages = "mariadb-server"
	path, err := find("mariadbd", packages)
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db", packages)
	if err != nil {
		return nil, err
	}
	s := &Server{name: "mariadbd", path: path, answers: greets}
	if s.user, err = account("mysql"); err != nil {
		return nil, err
	}
	if s.port, err = FreePort(); err != nil {
		return nil, err
	}
	s.dir = filepath.Join(dir, "mariadb-"+strconv.Itoa(s.port))
	if err := own(s.dir, s.user); err != nil {
		return nil, err
	}
	// A server deletes what it takes for left-over tables in its folder for temporary files, so no two may share one.
	data, temporary := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "tmp")
	if err := own(temporary, s.user); err != nil {
		return nil, err
	}
	fill := exec.CommandContext(ctx, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	fill.Dir, fill.SysProcAttr, fill.Env = s.dir, attributes(s.user), append(os.Environ(), "TMPDIR="+temporary)
	if said, err := fill.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w: %s", err, said)
	}
	s.args = append([]string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + temporary,
		"--socket=" + filepath.Join(s.dir, "s"), "--pid-file=" + filepath.Join(s.dir, "pid"),
		"--port=" + strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--skip-name-resolve",
		"--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1", "--innodb-buffer-pool-size=256M", "--max-connections=500",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci",
	}, flags...)
	return s, nil
}

// greets waits for the packet with which a MySQL server opens: three bytes of length, a number, then the protocol, 10.
func greets(conn net.Conn) error {
	var head [5]byte
	for n := 0; n < len(head); {
		got, err := conn.Read(head[n:])
		if err != nil {
			return err
		}
		n += got
	}
	if head[4] != 10 {
		return errors.New("it greets with an error")
	}
	return nil
}

// account is the user that a server runs as: for root, which some servers refuse to run as, the one with that name.
func account(name string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // nil stands for this process's own
	}
	found, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// own makes a folder for that user.
func own(dir string, as *syscall.Credential) error {
	err := os.Mkdir(dir, 0o755)
	if err == nil && as != nil {
		err = os.Chown(dir, int(as.Uid), int(as.Gid))
	}
	return err
}
