// The example of the README: an agent that asks before it acts.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/stonetown/stonetown/clients/go"
)

func main() {
	client, err := stonetown.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	decision, err := client.May(context.Background(), "agent:fixer", "restart", "container:staging-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(decision.Reason) // allowed
}
