import json
import sys

from bigdl.ppml.ppml_context import *  # type: ignore[import-not-found]  # noqa: F403
from pyspark import SparkConf

amy_in, bob_in, amy_out, bob_out, amy_key, bob_key = sys.argv[1:]
conf = SparkConf(loadDefaults=False).setAll(
    [
        ("spark.bigdl.primaryKey.AmyPK.kms.type", "SimpleKeyManagementService"),
        ("spark.bigdl.primaryKey.AmyPK.kms.appId", "123456654321"),
        ("spark.bigdl.primaryKey.AmyPK.kms.apiKey", "123456654321"),
        ("spark.bigdl.primaryKey.AmyPK.material", amy_key),
        ("spark.bigdl.primaryKey.BobPK.kms.type", "EHSMKeyManagementService"),
        ("spark.bigdl.primaryKey.BobPK.kms.ip", "127.0.0.1"),
        ("spark.bigdl.primaryKey.BobPK.kms.port", "9000"),
        ("spark.bigdl.primaryKey.BobPK.material", bob_key),
    ]
)
sc = PPMLContext("MultiPartyQuery", spark_conf=conf)  # type: ignore[name-defined]  # noqa: F405
MODE = CryptoMode.AES_CBC_PKCS5PADDING  # type: ignore[name-defined]  # noqa: F405
frames = []
for path, key in ((amy_in, "AmyPK"), (bob_in, "BobPK")):
    people = sc.read(crypto_mode=MODE, primary_key_name=key).option("header", "true").csv(path)
    frames.append(people.filter((people["job"] == "Developer") & people["age"].between(20, 40)))
amy, bob = frames
sc.write(amy.union(bob), MODE, "AmyPK").mode("overwrite").option("header", True).csv(amy_out)
one, other = amy.toDF("amyName", "amyAge", "amyJob"), bob.toDF("bobName", "bobAge", "bobJob")
joined = one.join(other, one["amyAge"] == other["bobAge"])
sc.write(joined, MODE, "BobPK").mode("overwrite").option("header", True).csv(bob_out)
print(json.dumps({"union": sorted(row["name"] for row in amy.union(bob).collect()), "joined": joined.count()}))
