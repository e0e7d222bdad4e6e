//go:build ignore

// Calls a method twice with Go's own client, and prints how that ended.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	for range 2 {
		resp, err := http.Post(os.Args[1], "application/json", strings.NewReader(`{"fields":{"TITLE":"a deal"}}`))
		if err != nil {
			fmt.Println(err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%d %s%v\n", resp.StatusCode, body, err)
	}
}
