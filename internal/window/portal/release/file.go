package release

import (
	"net/http"
	paths "path"
	"slices"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/verify"
)

// member finds the file that the URL names.
func (m *Room) member(r *frame.Request, name string) (*office.Release, office.File, error) {
	rel, err := m.find(r)
	if err != nil {
		return nil, office.File{}, err
	}
	i := slices.IndexFunc(rel.Files, func(f office.File) bool { return f.Name == name })
	if i < 0 {
		return nil, office.File{}, fault.NotFound.New("this release has no such file")
	}
	return rel, rel.Files[i], nil
}

// file streams a released file. Its address is not its content's for ever, so
// the entity tag is its hash.
func (m *Room) file(r *frame.Request) (*frame.Answer, error) {
	rel, f, err := m.member(r, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	blob, err := m.Blobs.Open(f.SHA256)
	if err != nil {
		return nil, err
	}
	return &frame.Answer{Stream: func(w http.ResponseWriter, req *http.Request) {
		defer blob.Close()
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", frame.Attachment(paths.Base(f.Name)))
		h.Set("ETag", `"`+f.SHA256+`"`)
		h.Set("Cache-Control", "no-cache")
		http.ServeContent(w, req, "", rel.PublishedAt, blob)
	}}, nil
}

func (m *Room) bundle(r *frame.Request) (*frame.Answer, error) {
	name, ok := strings.CutSuffix(r.PathValue("name"), ".clerestory")
	if !ok {
		return nil, fault.NotFound.New("a bundle's name is the file's, with .clerestory")
	}
	_, f, err := m.member(r, name)
	if err != nil {
		return nil, err
	}
	b, err := m.Office.Bundle(r.Ctx(), f.SHA256)
	if err != nil {
		return nil, err
	}
	return &frame.Answer{Bytes: b, Type: verify.BundleType, Name: paths.Base(f.Name) + ".clerestory"}, nil
}
