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
		made, err := one.forms()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if plain, err := unpack(made.packed); err != nil || !bytes.Equal(plain, made.plain) {
			t.Errorf("%s: %v, %d bytes of %d", name, err, len(plain), len(made.plain))
		}
	}
}
