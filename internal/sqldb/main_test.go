package sqldb

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"orderflow/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Run(m)) }

// schema is one table, for both dialects.
func schema() Schema {
	step := func(id string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE things (id " + id + " PRIMARY KEY);\n\n-- +goose Down\nDROP TABLE things;\n")}
	}
	return Schema{Files: fstest.MapFS{"sqlite/00001_things.sql": step("INTEGER"), "mysql/00001_things.sql": step("BIGINT")}}
}

// open opens a database and closes it with the test.
func open(t *testing.T, url string) *DB {
	t.Helper()
	db, err := Open(t.Context(), url, Options{Limits: Limits{time.Minute, time.Minute}, Pool: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func file(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
}
