import { Client } from "@stonetown/client";

const client = Client.fromEnv();
const decision = await client.may("agent:fixer", "restart", "container:staging-1");
console.log(decision.reason); // allowed
client.close();
