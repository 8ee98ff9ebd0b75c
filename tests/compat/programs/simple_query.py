import argparse
import json

from bigdl.ppml.ppml_context import *  # type: ignore[import-not-found]  # noqa: F403

parser = argparse.ArgumentParser()
for name in ("kms_type", "app_id", "api_key", "primary_key_material", "input_encrypt_mode", "output_encrypt_mode"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--input_path", required=True)
parser.add_argument("--output_path", required=True)
args = parser.parse_args()

sc = PPMLContext("SimpleQuery", vars(args))  # type: ignore[name-defined]  # noqa: F405
people = sc.read(args.input_encrypt_mode).option("header", "true").csv(args.input_path)
developers = people.filter((people["job"] == "Developer") & people["age"].between(20, 40))
developers.createOrReplaceTempView("developers")
print(json.dumps([list(row) for row in sc.sql("select name, age from developers order by name").collect()]))
sc.write(developers, args.output_encrypt_mode).mode("overwrite").option("header", True).csv(args.output_path)
