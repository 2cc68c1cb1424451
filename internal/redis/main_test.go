package redis_test

import (
	"os"
	"testing"

	"orderflow/internal/servers/serverstest"
)

func TestMain(m *testing.M) { os.Exit(serverstest.Run(m)) }
