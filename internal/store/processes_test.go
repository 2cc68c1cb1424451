package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// children are the functions of child processes. Each gets a path and returns the exit code.
var children = map[string]func(path string) int{
	"server": serverChild, "stranger": strangerChild, "full disk": fullDiskChild,
}

// child starts this binary as a process that ends with the test.
func child(t *testing.T, name, path string, attributes *syscall.SysProcAttr) (*exec.Cmd, *bufio.Scanner, error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, path)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.SysProcAttr = attributes
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out), cmd.Start()
}

// play runs a child to its end and returns its output.
func play(t *testing.T, name, path string, attributes *syscall.SysProcAttr) (string, error) {
	t.Helper()
	cmd, lines, err := child(t, name, path, attributes)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
	}
	return text.String(), cmd.Wait()
}

// serverChild locks the file and creates orders until it is killed. It prints the id of each acknowledged order.
func serverChild(path string) int {
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+path, store.Options{Rules: storetest.Rules()})
	if err != nil {
		return fail(err)
	}
	if _, err := s.LockFile(); err != nil {
		return fail(err)
	}
	for i := 0; ; i++ {
		var drafts []order.Draft
		for k := range 5 {
			d, err := order.NewDraft(nil, 1, fmt.Sprint(i, "-", k), []order.Line{{ProductID: 1, Quantity: 1}}, "")
			if err != nil {
				return fail(err)
			}
			drafts = append(drafts, d)
		}
		answers, _, err := s.CreateOrders(ctx, drafts)
		if err != nil {
			return fail(err)
		}
		for _, a := range answers {
			fmt.Println(a.Order.ID)
		}
	}
}

func fail(err error) int {
	fmt.Println(err)
	return 1
}

// TestKilledServer kills a busy server: the lock file is unlocked, the invariants hold, and all acknowledged orders exist.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 1_000_000)
	cmd, lines, err := child(t, "server", path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var acknowledged []int64
	for len(acknowledged) < 40 && lines.Scan() {
		id, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			t.Fatal(lines.Text())
		}
		acknowledged = append(acknowledged, id)
	}
	if _, err := s.LockFile(); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "Another orderflow server is using "+path) {
		t.Errorf("a second server: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // acknowledged, but not read yet
		if id, err := strconv.ParseInt(lines.Text(), 10, 64); err == nil {
			acknowledged = append(acknowledged, id)
		}
	}
	_ = cmd.Wait() // it was killed
	release, err := s.LockFile()
	if err != nil {
		t.Fatalf("after the server's death: %v", err)
	}
	defer func() { _ = release() }()
	for _, id := range acknowledged[:len(acknowledged)-1] { // the last line may have been cut
		if _, err := s.Order(t.Context(), id); err != nil {
			t.Errorf("order %d was acknowledged: %v", id, err)
		}
	}
	storetest.CheckInvariants(t, s)
	if n := storetest.Figure(t, s, 8, "unpublished"); n*5 < int64(len(acknowledged)-1) {
		t.Errorf("%d outbox rows are unpublished for %d orders", n, len(acknowledged))
	}
}

// strangerChild opens the files of a folder as a user without write permission, and prints a line for each step that fails.
func strangerChild(dir string) int {
	if os.Getuid() == 0 { // root may write everything
		if err := errors.Join(syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
			return fail(err)
		}
	}
	ctx := context.Background()
	for _, name := range []string{"file.db", "folder/test.db", "folder/new.db"} {
		step := func(what string, err error) bool {
			if err != nil {
				fmt.Printf("%s: %s: %s: %v\n", name, what, order.CodeOf(err), strings.ReplaceAll(err.Error(), dir, "DIR"))
			}
			return err == nil
		}
		s, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, name), store.Options{Rules: storetest.Rules()})
		if !step("open", err) {
			continue
		}
		step("read", s.Ping(ctx))
		step("migrate", s.Migrate(ctx))
		step("write", s.Seed(ctx, store.SeedPlan{}))
		_ = s.Close()
	}
	return 0
}

func TestReadOnlyFileAndFolder(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "file.db"), filepath.Join(folder, "test.db")} {
		if err := os.WriteFile(path, empty, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{
		filepath.Join(dir, "file.db"): 0o444, filepath.Join(folder, "test.db"): 0o666, folder: 0o555, dir: 0o777, filepath.Dir(dir): 0o755,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(folder, 0o700) }) // so that it can be removed
	got, err := play(t, "stranger", dir, nil)
	if err != nil {
		t.Fatal(got, err)
	}
	for _, want := range []string{
		"file.db: migrate: unavailable: Cannot migrate the database: the file or its folder is read-only; make both writable for this user.\n",
		"file.db: write: unavailable: ",
		"folder/test.db: open: unavailable: Cannot open the database DIR/folder/test.db: ",
		"folder/new.db: open: unavailable: Cannot open the database DIR/folder/new.db: permission denied; make the file and its folder writable for this user.\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in:\n%s", want, got)
		}
	}
}

// fullDiskChild fills a separate disk of 4 MB with orders, and then frees space.
func fullDiskChild(dir string) int {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fail(err)
	}
	if err := syscall.Mount("store-test", dir, "tmpfs", 0, "size=4m"); err != nil {
		return fail(err)
	}
	ctx := context.Background()
	ballast := filepath.Join(dir, "ballast")
	s, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "test.db"), store.Options{Rules: storetest.Rules()})
	if err == nil {
		err = s.Migrate(ctx)
	}
	if err == nil {
		err = s.Seed(ctx, store.SeedPlan{SetStock: true, Stock: 1_000_000})
	}
	if err == nil {
		err = os.WriteFile(ballast, make([]byte, 2<<20), 0o600)
	}
	if err != nil {
		return fail(err)
	}
	acknowledged := map[string]int64{}
	var refused []order.Draft
	for i := 0; len(refused) < 3 && i < 10_000; i++ {
		d, err := order.NewDraft(nil, 1, fmt.Sprint("k", i), []order.Line{{ProductID: 1, Quantity: 1}}, strings.Repeat("x", 255))
		if err != nil {
			return fail(err)
		}
		answers, _, err := s.CreateOrders(ctx, []order.Draft{d})
		switch {
		case err == nil && answers[0].Err == nil:
			acknowledged[d.Key] = answers[0].Order.ID
		case order.CodeOf(err) == order.CodeUnavailable:
			refused = append(refused, d)
		default:
			fmt.Println("a full disk is answered by", err, answers)
			return 1
		}
	}
	if len(refused) == 0 || s.Ping(ctx) != nil {
		fmt.Println("the disk did not fill up, or reads fail too:", len(acknowledged), s.Ping(ctx))
		return 1
	}
	if err := os.Remove(ballast); err != nil {
		return fail(err)
	}
	answers, _, err := s.CreateOrders(ctx, refused)
	if err != nil {
		fmt.Println("with room again:", err)
		return 1
	}
	for _, a := range answers {
		if a.Err != nil || a.Replayed {
			fmt.Println("with room again:", a)
			return 1
		}
		acknowledged[a.Order.Key] = a.Order.ID
	}
	return countOrders(ctx, s, acknowledged)
}

// countOrders checks that exactly the acknowledged orders exist, and that the invariants hold.
func countOrders(ctx context.Context, s *store.Store, acknowledged map[string]int64) int {
	page, err := s.Orders(ctx, order.ListQuery{PerPage: 10_000, Page: 1})
	if err != nil || page.Total != int64(len(acknowledged)) {
		fmt.Println(page.Total, "orders for", len(acknowledged), "acknowledged:", err)
		return 1
	}
	for _, o := range page.Orders {
		if acknowledged[o.Key] != o.ID {
			fmt.Println("order", o.ID, "was acknowledged as", acknowledged[o.Key])
			return 1
		}
	}
	findings, err := s.Audit(ctx)
	for _, f := range findings {
		if f.ViolationCount > 0 {
			err = errors.Join(err, fmt.Errorf("invariant %d: %q", f.Number, f.Violations))
		}
	}
	if err != nil {
		return fail(err)
	}
	fmt.Println("done with", len(acknowledged))
	return 0
}

// TestFullDisk: on a full disk writes are refused, and every acknowledged order is stored. The same process continues once there is
// space. The test needs no privilege where user namespaces are allowed.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	got, err := play(t, "full disk", t.TempDir(), attributes)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EINVAL) || strings.HasPrefix(got, syscall.EPERM.Error()) {
		t.Skip("this machine allows no disk of its own:", err, got)
	}
	if err != nil || !strings.HasPrefix(got, "done with ") {
		t.Errorf("%s%v", got, err)
	}
}

// TestFullFile does the same where no separate disk can be mounted: SQLite's own limit of a file returns a real SQLITE_FULL.
func TestFullFile(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 1_000_000)
	pageLimits.Store(path, 120)
	s.Reconnect(t.Context()) // so that the limit applies to the connection of the writer
	acknowledged := map[string]int64{}
	var refused []order.Draft
	for i := 0; len(refused) < 3 && i < 1_000; i++ {
		d := storetest.Draft(t, 1, strings.Repeat("k", 200)+fmt.Sprint(i), 1, 1)
		answers, _, err := s.CreateOrders(t.Context(), []order.Draft{d})
		switch {
		case err == nil:
			acknowledged[d.Key] = answers[0].Order.ID
		case order.CodeOf(err) == order.CodeUnavailable && strings.Contains(err.Error(), "The database file cannot be read or written: the disk is full; free some space."):
			refused = append(refused, d)
		default:
			t.Fatal(err)
		}
	}
	if len(refused) == 0 || len(acknowledged) == 0 {
		t.Fatalf("%d refused, %d acknowledged", len(refused), len(acknowledged))
	}
	if err := s.CheckWritable(); order.CodeOf(err) != order.CodeUnavailable || !strings.Contains(err.Error(), "the disk is full; free some space.") {
		t.Errorf("Writable returns %v, want the cause and the remedy", err)
	}
	pageLimits.Store(path, 1_000_000)
	answers, _, err := s.CreateOrders(t.Context(), refused)
	if err != nil {
		t.Fatalf("with room again: %v", err)
	}
	for _, a := range answers {
		acknowledged[a.Order.Key] = a.Order.ID
	}
	if code := countOrders(t.Context(), s, acknowledged); code != 0 {
		t.Error("invariants are violated; see above")
	}
}
