package chaos

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"orderflow/internal/payment/paymenttest"
	"orderflow/test/env"
)

// diskEnv tells this binary that it runs in a mount namespace of its own, where it may have a disk of its own.
const diskEnv = "ORDERFLOW_CHAOS_DISK"

// TestFullDisk fills the disk up under a server on a small disk of its own. The test starts itself again in a mount
// namespace, as root of a user namespace where it is not root already.
func TestFullDisk(t *testing.T) {
	if os.Getenv(diskEnv) != "" {
		onSmallDisk(t)
		return
	}
	t.Parallel()
	path := binary(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestFullDisk$", "-test.v", "-test.timeout=5m")
	child.Env = append(os.Environ(), diskEnv+"=1", binaryEnv+"="+path)
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	output, err := child.CombinedOutput()
	switch text := string(output); {
	case errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EINVAL) || strings.Contains(text, "--- SKIP: TestFullDisk"):
		t.Skipf("this machine lets nobody have a disk of his own (TestFileSizeLimit does without): %v\n%s", err, text)
	case err != nil || !strings.Contains(text, "--- PASS: TestFullDisk"):
		t.Errorf("%v\n%s", err, text)
	default:
		t.Log(text)
	}
}

func onSmallDisk(t *testing.T) {
	dir := t.TempDir()
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("orderflow-chaos", dir, "tmpfs", 0, "size=6m")
	}
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // it goes with the namespace anyhow
	ballast := filepath.Join(dir, "ballast")
	fillUp(t, dir, func(*server) {
		if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(*server) {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFileSizeLimit forbids the server to write its files beyond a size, which needs no privilege: a disk that refuses
// with another error than the one for being full.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("prlimit")
	if err != nil {
		t.Fatalf("prlimit, of util-linux, is needed: %v", err)
	}
	limit := func(s *server, size string) {
		t.Helper()
		output, err := exec.CommandContext(t.Context(), tool, "--pid", strconv.Itoa(s.PID()), "--fsize="+size+":").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	fillUp(t, t.TempDir(), func(s *server) { limit(s, "1500000") }, func(s *server) { limit(s, "unlimited") })
}

// fillUp serves from dir while the disk is full, and then again. What cannot be written is refused and does not exist;
// what can be read is read; with room again the same process goes on, and pays what is open.
func fillUp(t *testing.T, dir string, full, freed func(*server)) {
	provider := paymenttest.NewProvider(t, paymenttest.Options{})
	database := newDatabase(t, dir, 1_000_000)
	s := start(t, launch{database: database, errorsLogged: true, args: []string{
		"--gateway", provider.URL(), "--lease", "7100ms", "--charge-timeout", "2s", "--backoff", "50ms", "--payment-attempts", "100",
	}})
	addr := s.ready()
	full(s)

	acks := newAcknowledged(t)
	var refused atomic.Int64
	place := func(w *wire, key string) (done bool) {
		// A long key, so that room runs out soon.
		key += strings.Repeat("-", 200)
		a, err := w.ask(addr, http.MethodPost, "/api/v1/orders", create(key))
		switch {
		case err != nil:
			t.Errorf("%s: %v", key, err)
		case a.status == http.StatusServiceUnavailable && a.code() == "unavailable" && a.header.Get("Retry-After") != "":
			refused.Add(1)
		case a.status == http.StatusCreated || a.status == http.StatusOK:
			o, err := a.order()
			if err != nil {
				t.Errorf("%v: %v", a, err)
			}
			acks.place(refOf(key), o.ID, a.status == http.StatusOK)
			return true
		default:
			t.Errorf("%s: %v", key, a)
		}
		return false
	}
	const clients = 4
	open := make([]string, clients) // the key that each client could not place
	each := func(work func(i int, w *wire)) {
		var group sync.WaitGroup
		for i := range clients {
			group.Go(func() {
				var w wire
				defer w.close()
				work(i, &w)
			})
		}
		group.Wait()
	}
	each(func(i int, w *wire) {
		for k := 0; open[i] == "" && !t.Failed(); k++ {
			if key := fmt.Sprintf("%d-%d", i, k); !place(w, key) {
				open[i] = key
			}
		}
		for range 3 { // it is not the first refusal that counts
			place(w, open[i])
		}
	})
	before := acks.orders()
	if before == 0 {
		t.Error("there was no room from the start")
	}
	var w wire
	defer w.close()
	for _, id := range acks.ids() {
		a, err := w.ask(addr, http.MethodGet, fmt.Sprintf("/api/v1/orders/%d", id), "")
		if err != nil || a.status != http.StatusOK {
			t.Errorf("order %d was acknowledged: %v, %v", id, a, err)
		}
	}
	if a, err := w.ask(addr, http.MethodGet, "/api/health", ""); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("health while nothing can be written: %v, %v", a, err)
	}
	for _, path := range []string{"/api/v1/orders", "/api/v1/products", "/readyz"} {
		if a, err := w.ask(addr, http.MethodGet, path, ""); err != nil || a.status != http.StatusOK {
			t.Errorf("%s: %v, %v", path, a, err)
		}
	}
	freed(s)
	end := time.Now().Add(env.Patience)
	each(func(i int, w *wire) {
		for !place(w, open[i]) && time.Now().Before(end) && !t.Failed() {
			wait(t.Context(), 50*time.Millisecond)
		}
	})
	awaitAllEnded(t, addr)
	s.stop()
	db := openDatabase(t, database)
	audit(t, db)
	checkPayments(t, acks.compare(db), provider)
	t.Logf("%d orders before there was no room, %d refusals", before, refused.Load())
}
