package redis_test

import (
	"os"
	"testing"

	"orderflow/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Run(m)) }
