package detection

import (
	"testing"

	"clerestory.dev/clerestory/internal/base/engine"
)

const demo = "../../../programmes/bases/clerestory-base"

func TestTheDemoBaseIsRead(t *testing.T) {
	b, err := Open(demo)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", b.Counts())
	p, err := b.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Files {
		t.Logf("%s\n%s", f.Name, f.Content)
	}
}

func TestTheDemoBaseIsSound(t *testing.T) {
	c, err := Check(t.Context(), demo, engine.Engine{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
}
