package release

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"

	"clerestory.dev/clerestory/internal/base/fault"
)

// maxSBOM is the largest bill of materials that is read, in bytes.
const maxSBOM = 64 << 20

// Component is a line of a bill of materials as pages show it.
type Component struct {
	Name, Version, PURL, Hash string
}

// MakeSBOM makes a CycloneDX 1.6 bill of materials from a Go binary's own build
// information. The same binary gives the same bytes. A file that is no Go binary
// is Invalid.
func MakeSBOM(binary io.ReaderAt, name, version string, at time.Time) ([]byte, error) {
	info, err := buildinfo.Read(binary)
	if err != nil {
		return nil, fault.Invalid.New("reading the build information of %s: %w; give a bill of materials with --sbom", name, err)
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: at.UTC().Format(time.RFC3339),
		Component: &cdx.Component{Type: cdx.ComponentTypeApplication, BOMRef: "main", Name: name, Version: version, PackageURL: "pkg:golang/" + info.Main.Path + "@" + version},
	}
	components := []cdx.Component{{
		Type: cdx.ComponentTypeLibrary, BOMRef: "std", Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"),
		PackageURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
	}}
	for _, m := range modules(info) {
		c := cdx.Component{Type: cdx.ComponentTypeLibrary, BOMRef: m.Path + "@" + m.Version, Name: m.Path, Version: m.Version, PackageURL: "pkg:golang/" + m.Path + "@" + m.Version}
		if sum, ok := h1(m.Sum); ok {
			c.Properties = &[]cdx.Property{{Name: "clerestory:go.sum", Value: m.Sum}, {Name: "clerestory:go.sum:sha256", Value: sum}}
		}
		components = append(components, c)
	}
	bom.Components = &components
	return sealSBOM(bom)
}

// sealSBOM encodes with a serial number that follows from the content, so that
// the bytes do.
func sealSBOM(bom *cdx.BOM) ([]byte, error) {
	bom.SerialNumber = ""
	raw, err := encodeSBOM(bom)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	bom.SerialNumber = "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceURL, sum[:]).String()
	return encodeSBOM(bom)
}

func encodeSBOM(bom *cdx.BOM) ([]byte, error) {
	var buf bytes.Buffer
	enc := cdx.NewBOMEncoder(&buf, cdx.BOMFileFormatJSON)
	enc.SetPretty(true)
	if err := enc.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encoding the bill of materials: %w", err)
	}
	return buf.Bytes(), nil
}

// modules are the dependencies that are in the binary: replaced ones under what
// they were replaced with.
func modules(info *debug.BuildInfo) []*debug.Module {
	var all []*debug.Module
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *debug.Module) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// h1 gives the SHA-256 in a go.sum line's hash ("h1:" and base64), in hex. It is
// a hash over the module's file list, so it does not stand among the component's
// own hashes.
func h1(sum string) (string, bool) {
	b64, ok := strings.CutPrefix(sum, "h1:")
	raw, err := base64.StdEncoding.DecodeString(b64)
	return hex.EncodeToString(raw), ok && err == nil && len(raw) == sha256.Size
}

// ReadSBOM reads a CycloneDX file's components, sorted by name.
func ReadSBOM(r io.Reader) ([]Component, error) {
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(io.LimitReader(r, maxSBOM), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		return nil, fault.Invalid.New("reading the bill of materials (CycloneDX JSON): %w", err)
	}
	var all []Component
	if bom.Components == nil {
		return nil, nil
	}
	for _, c := range *bom.Components {
		line := Component{Name: c.Name, Version: c.Version, PURL: c.PackageURL}
		if c.Properties != nil {
			for _, p := range *c.Properties {
				if p.Name == "clerestory:go.sum" {
					line.Hash = p.Value
				}
			}
		}
		all = append(all, line)
	}
	slices.SortFunc(all, func(a, b Component) int {
		return strings.Compare(a.Name+"\x00"+a.Version, b.Name+"\x00"+b.Version)
	})
	return all, nil
}

// CheckSBOM compares a bill of materials with what a Go binary says of itself:
// every module of the binary must be listed, in that version, and no module may
// be listed that it does not have. It returns each difference.
func CheckSBOM(sbom []Component, binary io.ReaderAt) ([]string, error) {
	info, err := buildinfo.Read(binary)
	if err != nil {
		return nil, fault.Invalid.New("reading the binary's build information: %w", err)
	}
	listed := map[string]string{}
	for _, c := range sbom {
		if strings.HasPrefix(c.PURL, "pkg:golang/") && c.Name != "std" {
			listed[c.Name] = c.Version
		}
	}
	var differ []string
	for _, m := range modules(info) {
		switch v, ok := listed[m.Path]; {
		case !ok:
			differ = append(differ, fmt.Sprintf("%s %s is in the binary, but not listed", m.Path, m.Version))
		case v != m.Version:
			differ = append(differ, fmt.Sprintf("%s is listed as %s, but the binary has %s", m.Path, v, m.Version))
		}
		delete(listed, m.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		differ = append(differ, fmt.Sprintf("%s %s is listed, but not in the binary", name, listed[name]))
	}
	return differ, nil
}
