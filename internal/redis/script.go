package redis

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis identifies scripts by it
	_ "embed"     // the scripts
	"encoding/hex"

	"github.com/redis/rueidis"
)

// script is a Lua script. Its keys are in one slot, so that it runs on a cluster.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // likewise
	return script{text, hex.EncodeToString(sum[:])}
}

// call is one run of a script.
type call struct {
	script script
	keys   []string
	args   []string
}

func (c call) short(client rueidis.Client) rueidis.Completed {
	return client.B().Evalsha().Sha1(c.script.sha).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
}

func (c call) long(client rueidis.Client) rueidis.Completed {
	return client.B().Eval().Script(c.script.text).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
}

// run runs scripts and other commands in one round trip, or in two when the server does not know a script yet.
func run(ctx context.Context, client rueidis.Client, calls []call, others ...rueidis.Completed) []rueidis.RedisResult {
	commands := make([]rueidis.Completed, 0, len(calls)+len(others))
	for _, c := range calls {
		commands = append(commands, c.short(client))
	}
	results := client.DoMulti(ctx, append(commands, others...)...)
	var again []rueidis.Completed
	var at []int
	for i := range calls {
		if answer, ok := rueidis.IsRedisErr(results[i].Error()); ok && answer.IsNoScript() {
			again, at = append(again, calls[i].long(client)), append(at, i)
		}
	}
	if len(again) > 0 {
		for i, result := range client.DoMulti(ctx, again...) {
			results[at[i]] = result
		}
	}
	return results
}
