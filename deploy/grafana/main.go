// Grafana writes the dashboards of this folder from their description in Go,
// which is a tenth as long as the JSON:
//
//	go generate ./deploy/grafana
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

//go:generate go run . dashboards

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: grafana FOLDER")
	}
	for _, d := range []dashboard{overview(), portal()} {
		if err := os.WriteFile(filepath.Join(os.Args[1], d.file()), d.encode(), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// file is the name of the dashboard's JSON file.
func (d dashboard) file() string { return d.UID + ".json" }

func (d dashboard) encode() []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		panic(fmt.Sprintf("dashboard %s: %v", d.UID, err)) // only plain data is in it
	}
	return out.Bytes()
}
