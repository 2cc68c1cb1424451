package console

import (
	"bytes"
	"testing"
)

// What is sent packed is all of it.
func TestAssetsArePackedWhole(t *testing.T) {
	all, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range all.byName {
		if plain, err := unpack(one.packed); err != nil || !bytes.Equal(plain, one.plain) {
			t.Errorf("%s: %v, %d bytes of %d", name, err, len(plain), len(one.plain))
		}
	}
}
