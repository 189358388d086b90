// PostGraphile on the schema "plain" of DATABASE_URL, by two processes that share PORT.
import cluster from "node:cluster";
import { createServer } from "node:http";
import { grafserv } from "postgraphile/grafserv/node";
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { postgraphile } from "postgraphile";

const workers = 2;

if (cluster.isPrimary) {
  for (let n = 0; n < workers; n++) cluster.fork();
  cluster.on("exit", () => process.exit(1));
} else {
  const instance = postgraphile({
    extends: [PostGraphileAmberPreset],
    pgServices: [
      makePgService({
        connectionString: process.env.DATABASE_URL,
        schemas: ["plain"],
        poolConfig: { max: 32 / workers }, // together as many as PatientGraph
      }),
    ],
    grafserv: { graphiql: false, watch: false },
    grafast: { explain: false },
  });
  const server = createServer();
  await instance.createServ(grafserv).addTo(server);
  server.listen(Number(process.env.PORT), "127.0.0.1");
}
