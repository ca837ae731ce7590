"""The applications of this capture, one function each: `edge.py NAME [ARGS]`."""

import os
import sys
import time

from jobkit import spark_session, step
from pyspark.sql import functions as F

LAKE = "/data/edge"
ORDERS = f"{LAKE}/raw/orders"
DAY = "2026-11-01"


def orders(spark, *days):
    """Orders of some days, by one read."""
    schema = "id int, sku string, qty int"
    paths = [f"{ORDERS}/dt={day}" for day in days]
    return spark.read.option("header", True).option("basePath", ORDERS).schema(schema).csv(paths)


def bad(column):
    """A column whose computation fails."""

    @F.udf("int")
    def raises(value):
        raise ValueError(f"bad value: {value}")

    return raises(column)


def daily(spark, *days):
    """Several partitions by one read, dynamic overwrite of their own partitions."""
    names = [f"dt={day}" for day in days]
    with step("daily", reads=[(ORDERS, names)], writes=[(f"{LAKE}/curated/orders", names)], mode="overwrite (dynamic)"):
        frame = orders(spark, *days).withColumn("dt", F.col("dt").cast("string"))
        frame.coalesce(1).write.mode("overwrite").partitionBy("dt").parquet(f"{LAKE}/curated/orders")


def globs(spark):
    """Partitions by glob: of directories, of files, of a parquet dataset."""
    one, two = f"{LAKE}/mart/glob_one", f"{LAKE}/mart/glob_two"
    with step("csv", reads=[(ORDERS, ["dt=2026-11-01", "dt=2026-11-02"])], writes=[(one, [])], mode="overwrite"):
        spark.read.option("header", True).csv(f"{ORDERS}/dt=2026-11-0[12]/*.csv").coalesce(1).write.mode(
            "overwrite"
        ).json(one)
    with step(
        "parquet",
        reads=[(f"{LAKE}/curated/orders", ["dt=2026-11-01", "dt=2026-11-02"])],
        writes=[(two, [])],
        mode="append",
    ):
        spark.read.parquet(f"{LAKE}/curated/orders/dt=2026-11-*").coalesce(1).write.mode("append").orc(two)


LAYOUTS = {
    "day": "day=2026-11-01",
    "date": "date=2026-11-01",
    "event_date": "event_date=2026-11-01",
    "p_date": "p_date=20261101",
    "ymd": "year=2026/month=11/day=01",
    "ymd_short": "year=2026/month=11/day=1",
    "ym": "year=2026/month=11",
    "ymdh": "year=2026/month=11/day=01/hour=03",
    "dt_hour": "dt=2026-11-01/hour=03",
    "dt_hh": "dt=20261101/hh=7",
    "country_dt": "country=de/dt=2026-11-01",
    "dt_country": "dt=2026-11-01/country=de",
    "dirs": "2026/11/01",
    "dirs_month": "2026/11",
    "dirs_hour": "2026/11/01/03",
    "iso_hour": "2026-11-01/03",
    "compact_hour": "2026110103",
    "stamp": "20261101T030000Z",
    "under": "2026_11_01",
    "hour_key": "hour=2026-11-01-03",
    "month_key": "month=2026-11",
    "version": "v7",
    "version_key": "v=7",
}


def layouts(spark, *names):
    """One small frame into the layouts in which partitions are named by directories."""
    root = f"{LAKE}/{spark.sparkContext.appName}"
    frame = spark.range(3).coalesce(1)
    for name in names or LAYOUTS:
        with step(name, writes=[(f"{root}/{name}", [LAYOUTS[name]])], mode="overwrite"):
            frame.write.mode("overwrite").parquet(f"{root}/{name}/{LAYOUTS[name]}")
    back = [name for name in ("ymd", "country_dt", "dt_hour", "p_date") if name in (names or LAYOUTS)]
    for name in back:
        out = f"{LAKE}/mart/back_{spark.sparkContext.appName}_{name}"
        with step(f"back_{name}", reads=[(f"{root}/{name}", [LAYOUTS[name]])], writes=[(out, [])], mode="overwrite"):
            spark.read.parquet(f"{root}/{name}/{LAYOUTS[name]}").coalesce(1).write.mode("overwrite").parquet(out)


def files(spark):
    """Single files by name, in and outside of partition directories."""
    read = spark.read.option("header", True)
    part = next(
        name for name in sorted(os.listdir(f"{LAKE}/curated/orders/dt={DAY}")) if name.startswith("part-")
    )
    cases = [
        ("csv", f"{LAKE}/raw/customers.csv", [], read.csv),
        ("json", f"{LAKE}/raw/fx/rates.json", [], read.json),
        ("csv_gz", f"{LAKE}/raw/fx/history.csv.gz", [], read.csv),
        ("csv_dt", f"{ORDERS}/dt={DAY}/orders.csv", [ORDERS, f"dt={DAY}"], read.csv),
        ("gz_dt", f"{LAKE}/raw/events/event_date={DAY}/events.json.gz", [f"{LAKE}/raw/events", f"event_date={DAY}"],
         read.json),
        ("txt_dirs", f"{LAKE}/raw/visits/2026/11/01/visits.txt", [f"{LAKE}/raw/visits", "2026/11/01"], read.text),
        ("log_dt", f"{LAKE}/raw/logs/dt={DAY}/app.log", [f"{LAKE}/raw/logs", f"dt={DAY}"], read.text),
        ("bare_dt", f"{LAKE}/raw/logs/dt={DAY}/access", [f"{LAKE}/raw/logs", f"dt={DAY}"], read.text),
        ("part_dt", f"{LAKE}/curated/orders/dt={DAY}/{part}", [f"{LAKE}/curated/orders", f"dt={DAY}"], read.parquet),
    ]
    for name, path, partition, load in cases:
        reads = [(partition[0], partition[1:])] if partition else [(path, [])]
        with step(name, reads=reads, writes=[(f"{LAKE}/stage/file_{name}", [])], mode="overwrite"):
            load(path).coalesce(1).write.mode("overwrite").parquet(f"{LAKE}/stage/file_{name}")
    with step("directory", reads=[(f"{LAKE}/raw/shops", [])], writes=[(f"{LAKE}/stage/shops", [])], mode="overwrite"):
        read.csv(f"{LAKE}/raw/shops").coalesce(1).write.mode("overwrite").parquet(f"{LAKE}/stage/shops")
    with step(
        "part_plain", reads=[(f"{LAKE}/stage/shops", [])], writes=[(f"{LAKE}/stage/shops_b", [])], mode="overwrite"
    ):
        own = next(name for name in sorted(os.listdir(f"{LAKE}/stage/shops")) if name.startswith("part-"))
        read.parquet(f"{LAKE}/stage/shops/{own}").coalesce(1).write.mode("overwrite").csv(f"{LAKE}/stage/shops_b")


def static_and_append(spark):
    """Static overwrite by two columns, then an append, then one read of its own output for the next day."""
    out = f"{LAKE}/curated/by_country"
    first = ["country=de/dt=2026-11-01", "country=fr/dt=2026-11-01"]
    frame = spark.createDataFrame([(1, "de"), (2, "fr")], "id int, country string")
    with step("static", writes=[(out, first)], mode="overwrite (static)"):
        frame.withColumn("dt", F.lit(DAY)).coalesce(1).write.mode("overwrite").partitionBy("country", "dt").parquet(out)
    with step("append", writes=[(out, ["country=de/dt=2026-11-02", "country=fr/dt=2026-11-02"])], mode="append"):
        frame.withColumn("dt", F.lit("2026-11-02")).coalesce(1).write.mode("append").partitionBy("country", "dt").parquet(
            out
        )
    with step("next_day", reads=[(out, ["country=de/dt=2026-11-02"])], writes=[(out, ["country=de/dt=2026-11-03"])],
              mode="overwrite of the partition directory"):
        spark.read.parquet(f"{out}/country=de/dt=2026-11-02").coalesce(1).write.mode("overwrite").parquet(
            f"{out}/country=de/dt=2026-11-03"
        )


def odd_names(spark):
    """Directories with blanks, signs and letters beyond ASCII."""
    for name in ("odd names/all orders", "straße/größe", "100%/a+b", "ns=x/table"):
        with step(name, reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/{name}", [])], mode="overwrite"):
            orders(spark, DAY).coalesce(1).write.mode("overwrite").parquet(f"{LAKE}/{name}")


def caught(spark, out):
    """A write fails and is caught; another output is written, then the first one after all."""
    failing, fallback = f"{LAKE}/mart/{out}", f"{LAKE}/mart/{out}_fallback"
    frame = orders(spark, DAY)
    try:
        with step("fails", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(failing, [])], mode="overwrite"):
            frame.withColumn("bad", bad("qty")).write.mode("overwrite").parquet(failing)
    except Exception:
        pass
    with step("fallback", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(fallback, [])], mode="overwrite"):
        frame.coalesce(1).write.mode("overwrite").parquet(fallback)
    try:
        with step("lost", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{failing}_lost", [])], mode="overwrite"):
            frame.groupBy("sku").count().withColumn("bad", bad("count")).write.mode("overwrite").parquet(
                f"{failing}_lost"
            )
    except Exception:
        pass
    with step("again", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(failing, [])], mode="overwrite"):
        frame.coalesce(1).write.mode("overwrite").parquet(failing)


def retry(spark, number):
    """Three tries of one task: fails at once, fails late after a good write, succeeds."""
    first, out = f"{LAKE}/stage/retry_input", f"{LAKE}/mart/retry_result"
    frame = orders(spark, DAY)
    if number == "2":
        with step("stage", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(first, [])], mode="overwrite"):
            frame.coalesce(1).write.mode("overwrite").parquet(first)
    if number == "3":
        with step("stage", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(first, [])], mode="overwrite"):
            frame.coalesce(1).write.mode("overwrite").parquet(first)
        bad_or_not = F.lit(1)
    else:
        bad_or_not = bad("qty")
    with step("result", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(out, [f"dt={DAY}"])], mode="overwrite of partition"):
        counted = frame.groupBy("sku").agg(F.sum("qty").alias("qty")) if number == "2" else frame
        counted.withColumn("checked", bad_or_not).coalesce(1).write.mode("overwrite").parquet(f"{out}/dt={DAY}")


def good(spark, out):
    """One good write, one partition directory."""
    with step("good", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/mart/{out}", [f"dt={DAY}"])], mode="overwrite"):
        orders(spark, DAY).drop("dt").coalesce(1).write.mode("overwrite").parquet(f"{LAKE}/mart/{out}/dt={DAY}")


def uncaught(spark, out):
    """A UDF raises in the first Spark job of the write."""
    with step("fails", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/mart/{out}", [])], mode="overwrite"):
        orders(spark, DAY).withColumn("bad", bad("qty")).write.mode("overwrite").parquet(f"{LAKE}/mart/{out}")


def late(spark, out):
    """A UDF raises after a shuffle."""
    with step("late", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/mart/{out}", [])], mode="overwrite"):
        counted = orders(spark, DAY).groupBy("sku").count().withColumn("bad", bad("count"))
        counted.write.mode("overwrite").partitionBy("sku").parquet(f"{LAKE}/mart/{out}")


def late_partial(spark, out):
    """After a shuffle one task writes its file, and another fails later."""

    @F.udf("int")
    def last(value):
        if value == "C":
            time.sleep(4)
            raise ValueError("bad value")
        return 1

    with step("late", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/mart/{out}", [])], mode="overwrite"):
        counted = orders(spark, DAY).repartition(6, "sku").withColumn("bad", last("sku"))
        counted.write.mode("overwrite").parquet(f"{LAKE}/mart/{out}")


def missing(spark, out):
    """The input does not exist."""
    with step("missing", writes=[(f"{LAKE}/mart/{out}", [])], mode="overwrite"):
        spark.read.parquet(f"{LAKE}/raw/nowhere/dt={DAY}").write.mode("overwrite").parquet(f"{LAKE}/mart/{out}")


def exists(spark, out):
    """The output exists, and the mode says that this is an error."""
    with step("exists", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/curated/orders", [])], mode="errorifexists"):
        orders(spark, DAY).write.parquet(f"{LAKE}/curated/orders")


def exits(spark, out):
    """A good write, then the driver says that it failed."""
    good(spark, out)
    sys.exit(7)


def dies(spark, out):
    """A good write, then the Python process ends without a word."""
    good(spark, out)
    os._exit(5)


def raises(spark, out):
    """A good write, then an error in the driver's own code."""
    good(spark, out)
    raise RuntimeError("a check of the driver failed")


def slow(spark, out, first=""):
    """A write that is still running when the process is killed; with `first` after a good one."""
    if first:
        good(spark, first)

    @F.udf("int")
    def sleeps(value):
        time.sleep(3)
        return value

    with step("slow", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/mart/{out}", [])], mode="overwrite"):
        orders(spark, DAY).withColumn("q", sleeps("qty")).write.mode("overwrite").parquet(f"{LAKE}/mart/{out}")


W = f"{LAKE}/warehouse/shop.db"
S = (f"{W}/sales", [])


def tables(spark):
    """Tables by SQL, partitions in the spellings that people use."""
    spark.sql("CREATE DATABASE IF NOT EXISTS shop")
    with step("save", reads=[(ORDERS, ["dt=2026-11-01", "dt=2026-11-02"])], writes=[S], mode="saveAsTable"):
        frame = orders(spark, "2026-11-01", "2026-11-02").withColumn("dt", F.col("dt").cast("string"))
        frame.coalesce(1).write.mode("overwrite").saveAsTable("shop.sales")
    kinds = {
        "history": ("sku STRING, qty INT, ds STRING", "ds"),
        "regional": ("sku STRING, qty INT, ds DATE, region STRING", "ds, region"),
        "numbers": ("sku STRING, qty INT, year INT, month INT, day INT", "year, month, day"),
    }
    for name, (columns, keys) in kinds.items():
        with step(f"create_{name}", writes=[(f"{W}/{name}", [])], mode="CREATE TABLE"):
            spark.sql(f"CREATE TABLE shop.{name} ({columns}) USING parquet PARTITIONED BY ({keys})")
    select = "SELECT sku, qty FROM shop.sales WHERE dt = '2026-11-01'"
    statements = [
        ("plain", "history", ["ds=2026-11-01"], f"INSERT INTO shop.history PARTITION (ds='2026-11-01') {select}"),
        ("tight", "history", ["ds=2026-11-02"], f"insert overwrite table shop.history partition(ds='2026-11-02') {select}"),
        ("double", "history", ["ds=2026-11-03"], f'INSERT OVERWRITE shop.history PARTITION (`ds` = "2026-11-03") {select}'),
        ("lines", "history", ["ds=2026-11-04"],
         f"-- the fourth day (all of it)\nINSERT OVERWRITE TABLE\n  shop.history\n  PARTITION (\n    ds = '2026-11-04'\n  )\n{select}"),
        ("comment", "history", ["ds=2026-11-05"],
         f"/* daily; PARTITION (ds='1999-01-01') */ INSERT INTO TABLE `shop`.`history` PARTITION (ds = '2026-11-05') {select}"),
        ("with", "history", ["ds=2026-11-06"],
         f"WITH s AS ({select}) INSERT INTO shop.history PARTITION (ds = '2026-11-06') SELECT * FROM s"),
        ("from", "history", ["ds=2026-11-07"],
         "FROM shop.sales INSERT OVERWRITE TABLE shop.history PARTITION (ds = '2026-11-07') SELECT sku, qty"),
        ("unless", "history", ["ds=2026-11-08"],
         f"INSERT OVERWRITE TABLE shop.history PARTITION (ds = '2026-11-08') IF NOT EXISTS {select}"),
        ("columns", "history", ["ds=2026-11-09"],
         f"INSERT INTO shop.history PARTITION (ds = '2026-11-09') (sku, qty) {select}"),
        ("dynamic", "history", ["ds=2026-11-10"],
         "INSERT OVERWRITE TABLE shop.history PARTITION (ds) SELECT sku, qty, '2026-11-10' FROM shop.sales"),
        ("by_position", "history", ["ds=2026-11-11"],
         "INSERT INTO shop.history SELECT sku, sum(qty) OVER (PARTITION BY sku) AS qty, '2026-11-11' FROM shop.sales"),
        ("typed", "regional", ["ds=2026-11-01/region=eu"],
         f"INSERT OVERWRITE TABLE shop.regional PARTITION(ds = DATE'2026-11-01', region='eu') {select}"),
        ("cast", "regional", ["ds=2026-11-02/region=us"],
         f"INSERT INTO shop.regional PARTITION(region='us', ds = CAST('2026-11-02' AS DATE)) {select}"),
        ("half", "regional", ["ds=2026-11-03/region=eu"],
         f"INSERT INTO shop.regional PARTITION(ds = DATE '2026-11-03', region) SELECT sku, qty, 'eu' FROM shop.sales"),
        ("numbers", "numbers", ["year=2026/month=11/day=1"],
         f"INSERT OVERWRITE TABLE shop.numbers PARTITION (year=2026, month=11, day=1) {select}"),
    ]
    for name, table, keys, statement in statements:
        try:
            with step(name, reads=[S], writes=[(f"{W}/{table}", keys)], mode="INSERT"):
                spark.sql(statement)
        except Exception as error:
            print("refused:", name, str(error)[:200])
    with step("insert_into", reads=[S], writes=[(f"{W}/history", ["ds=2026-11-12"])], mode="insertInto"):
        spark.table("shop.sales").selectExpr("sku", "qty", "'2026-11-12' ds").write.insertInto("shop.history")
    with step("directory", reads=[S], writes=[(f"{LAKE}/export/sales", [f"dt={DAY}"])], mode="INSERT OVERWRITE DIRECTORY"):
        spark.sql(f"INSERT OVERWRITE DIRECTORY '{LAKE}/export/sales/dt={DAY}' USING json {select}")
    with step("ctas", reads=[(f"{W}/history", [])], writes=[(f"{W}/totals", [])], mode="CTAS"):
        spark.sql("CREATE TABLE shop.totals USING parquet AS SELECT ds, sum(qty) AS qty FROM shop.history GROUP BY ds")
    with step("ctas_keys", reads=[S], writes=[(f"{W}/keyed", ["dt=2026-11-01", "dt=2026-11-02"])], mode="CTAS"):
        spark.sql("CREATE TABLE shop.keyed USING orc PARTITIONED BY (dt) AS SELECT sku, qty, dt FROM shop.sales")
    with step("outside", reads=[S], writes=[(f"{LAKE}/outside/sales_copy", [])], mode="CTAS with LOCATION"):
        spark.sql(f"CREATE TABLE shop.sales_copy USING parquet LOCATION '{LAKE}/outside/sales_copy' AS {select}")
    with step("view", mode="CREATE VIEW"):
        spark.sql("CREATE VIEW shop.recent AS SELECT * FROM shop.history WHERE ds > '2026-11-01'")
    with step("of_view", reads=[(f"{W}/history", [])], writes=[(f"{LAKE}/mart/of_view", [])], mode="overwrite"):
        spark.table("shop.recent").coalesce(1).write.mode("overwrite").parquet(f"{LAKE}/mart/of_view")
    with step("temp_view", reads=[S], writes=[(f"{LAKE}/mart/of_temp", [])], mode="overwrite"):
        spark.sql(select).createOrReplaceTempView("recent_sales")
        spark.sql("CACHE TABLE cached_sales AS SELECT * FROM recent_sales")
        spark.sql("SELECT sku, count(*) AS n FROM cached_sales GROUP BY sku").coalesce(1).write.mode("overwrite").csv(
            f"{LAKE}/mart/of_temp"
        )
    with step("drop_partition", writes=[], mode="ALTER TABLE DROP PARTITION"):
        spark.sql("ALTER TABLE shop.history DROP PARTITION (ds='2026-11-09')")
    with step("add_partition", writes=[], mode="ALTER TABLE ADD PARTITION"):
        spark.sql("ALTER TABLE shop.history ADD PARTITION (ds='2026-12-01')")
    with step("add_column", writes=[], mode="ALTER TABLE ADD COLUMN"):
        spark.sql("ALTER TABLE shop.totals ADD COLUMNS (note STRING)")
    with step("truncate_partition", writes=[], mode="TRUNCATE TABLE PARTITION"):
        spark.sql("TRUNCATE TABLE shop.history PARTITION (ds='2026-11-08')")
    with step("truncate", writes=[], mode="TRUNCATE TABLE"):
        spark.sql("TRUNCATE TABLE shop.totals")
    with step("rename", writes=[], mode="ALTER TABLE RENAME"):
        spark.sql("ALTER TABLE shop.keyed RENAME TO shop.keyed_old")
    with step("drop", writes=[], mode="DROP TABLE"):
        spark.sql("DROP TABLE shop.numbers")


def more_tables(spark):
    """Tables without a parent: CTAS, an insert into a partition, then one that fails."""
    spark.sql("CREATE DATABASE IF NOT EXISTS desk")
    d = f"{LAKE}/warehouse/desk.db"
    with step("ctas", reads=[(ORDERS, ["dt=2026-11-01"])], writes=[(f"{d}/tickets", [])], mode="CTAS"):
        orders(spark, DAY).createOrReplaceTempView("o")
        spark.sql("CREATE TABLE desk.tickets USING parquet AS SELECT sku, qty FROM o")
    with step("create", writes=[(f"{d}/days", [])], mode="CREATE TABLE"):
        spark.sql("CREATE TABLE desk.days (sku STRING, qty INT, dt STRING) USING parquet PARTITIONED BY (dt)")
    with step("insert", reads=[(f"{d}/tickets", [])], writes=[(f"{d}/days", ["dt=2026-11-01"])], mode="INSERT"):
        spark.sql("INSERT INTO desk.days PARTITION (dt='2026-11-01') SELECT * FROM desk.tickets")
    spark.udf.register("refuse", lambda q: 1 // 0, "int")
    try:
        with step("refused", reads=[(f"{d}/tickets", [])], writes=[(f"{d}/days", ["dt=2026-11-02"])], mode="INSERT"):
            spark.sql("INSERT INTO desk.days PARTITION (dt='2026-11-02') SELECT sku, refuse(qty) FROM desk.tickets")
    except Exception:
        pass


def stream_each(spark):
    """A stream whose batches are written by foreachBatch, into a partition directory and an appended dataset."""
    src, out, log = f"{LAKE}/landing/clicks", f"{LAKE}/curated/clicks", f"{LAKE}/curated/click_log"

    def batch(frame, number):
        frame.coalesce(1).write.mode("overwrite").parquet(f"{out}/batch_day=2026-11-0{number + 1}")
        frame.groupBy("url").count().coalesce(1).write.mode("append").json(log)

    days = ["batch_day=2026-11-01", "batch_day=2026-11-02"]
    with step("stream", reads=[(src, [])], writes=[(out, days), (log, [])], mode="foreachBatch, availableNow"):
        frame = spark.readStream.schema("user int, url string").option("maxFilesPerTrigger", 1).json(src)
        frame.writeStream.foreachBatch(batch).option("checkpointLocation", f"{LAKE}/_checkpoints/each").trigger(
            availableNow=True
        ).start().awaitTermination()


def stream_sink(spark):
    """A stream to a file sink, from files in partition directories."""
    src, out = f"{LAKE}/landing/taps", f"{LAKE}/curated/taps"
    with step("stream", reads=[(src, ["dt=2026-11-01", "dt=2026-11-02"])], writes=[(out, [])], mode="streaming append"):
        frame = spark.readStream.schema("user int, url string, dt string").option("maxFilesPerTrigger", 1).json(src)
        frame.writeStream.format("json").option("checkpointLocation", f"{LAKE}/_checkpoints/sink").option(
            "path", out
        ).trigger(availableNow=True).start().awaitTermination()


def stream_fails(spark):
    """A stream whose second batch raises."""
    src, out = f"{LAKE}/landing/clicks", f"{LAKE}/curated/clicks_checked"

    def batch(frame, number):
        if number:
            raise ValueError("second batch refused")
        frame.coalesce(1).write.mode("append").parquet(out)

    with step("stream", reads=[(src, [])], writes=[(out, [])], mode="foreachBatch, availableNow"):
        frame = spark.readStream.schema("user int, url string").option("maxFilesPerTrigger", 1).json(src)
        frame.writeStream.foreachBatch(batch).option("checkpointLocation", f"{LAKE}/_checkpoints/fails").trigger(
            availableNow=True
        ).start().awaitTermination()


def rdd(spark, out):
    """RDDs alone, of one partition directory and of a file outside of any."""
    with step("rdd", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/mart/{out}", [])], mode="saveAsTextFile"):
        lines = spark.sparkContext.textFile(f"{ORDERS}/dt={DAY}/*.csv", 1)
        pairs = lines.map(lambda line: (line.split(",")[1], 1)).reduceByKey(lambda a, b: a + b)
        pairs.coalesce(1).saveAsTextFile(f"{LAKE}/mart/{out}")


def rdd_fails(spark, out):
    """An RDD job whose last stage raises."""
    with step("rdd", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(f"{LAKE}/mart/{out}", [])], mode="saveAsTextFile"):
        lines = spark.sparkContext.textFile(f"{ORDERS}/dt={DAY}/*.csv", 1)
        pairs = lines.map(lambda line: (line, 1)).reduceByKey(lambda a, b: a + b).map(lambda pair: 1 // 0)
        pairs.saveAsTextFile(f"{LAKE}/mart/{out}")


def looks(spark):
    """Looks only."""
    with step("looks", mode="read only"):
        orders(spark, DAY).count()
        spark.read.parquet(f"{LAKE}/curated/orders").show(2)
        spark.range(5).show()


def schema_only(spark):
    """One partition is read by a filter, so that the schema comes from another partition's file."""
    out = f"{LAKE}/mart/second_day"
    with step("second", reads=[(f"{LAKE}/curated/orders", ["dt=2026-11-02"])], writes=[(out, [])], mode="overwrite"):
        frame = spark.read.parquet(f"{LAKE}/curated/orders").where("dt = '2026-11-02'")
        frame.coalesce(1).write.mode("overwrite").parquet(out)


def sqlite(spark):
    """A table in SQLite, written, read back."""
    url, name = f"jdbc:sqlite:{LAKE}/shop.db", f"sqlite:{LAKE}/shop.db sales"
    driver = {"driver": "org.sqlite.JDBC"}
    with step("publish", reads=[(ORDERS, [f"dt={DAY}"])], writes=[(name, [])], mode="jdbc overwrite"):
        orders(spark, DAY).drop("dt").coalesce(1).write.mode("overwrite").jdbc(url, "sales", properties=driver)
    with step("back", reads=[(name, [])], writes=[(f"{LAKE}/stage/from_sqlite", [])], mode="overwrite"):
        spark.read.jdbc(url, "sales", properties=driver).coalesce(1).write.mode("overwrite").csv(f"{LAKE}/stage/from_sqlite")


def iceberg(spark):
    """An Iceberg table: CREATE, INSERT by partition, DELETE, one write that fails."""
    root = f"{LAKE}/iceberg/shop/stock"
    spark.sql("CREATE TABLE lake.shop.stock (sku STRING, qty INT, ds STRING) USING iceberg PARTITIONED BY (ds)")
    with step("insert", writes=[(root, ["ds=2026-11-01"])], mode="INSERT PARTITION"):
        spark.sql("INSERT INTO lake.shop.stock PARTITION (ds='2026-11-01') SELECT 'A', 1")
    with step("overwrite", writes=[(root, ["ds=2026-11-02"])], mode="INSERT OVERWRITE PARTITION"):
        spark.sql("INSERT OVERWRITE lake.shop.stock PARTITION (ds='2026-11-02') SELECT 'B', 2")
    with step("delete", reads=[(root, [])], writes=[(root, [])], mode="DELETE"):
        spark.sql("DELETE FROM lake.shop.stock WHERE sku = 'A'")


def empty(spark):
    """Writes of nothing, in the ways in which nothing comes about; and writes that are left out."""
    m = f"{LAKE}/mart"
    read = [(ORDERS, [f"dt={DAY}"])]
    frame = orders(spark, DAY)
    with step("filtered", reads=read, writes=[(f"{m}/empty_filtered", [])], mode="overwrite"):
        frame.where("qty > 1000").coalesce(1).write.mode("overwrite").parquet(f"{m}/empty_filtered")
    with step("grouped", reads=read, writes=[(f"{m}/empty_grouped", [])], mode="overwrite"):
        frame.where("qty > 1000").groupBy("sku").count().write.mode("overwrite").parquet(f"{m}/empty_grouped")
    with step("keyed", reads=read, writes=[(f"{m}/empty_keyed", [])], mode="overwrite"):
        frame.where("qty > 1000").write.mode("overwrite").partitionBy("sku").parquet(f"{m}/empty_keyed")
    with step("nothing", writes=[(f"{m}/empty_nothing", [])], mode="overwrite"):
        spark.createDataFrame([], "a int").write.mode("overwrite").json(f"{m}/empty_nothing")
    with step("false", reads=[], writes=[(f"{m}/empty_false", [])], mode="overwrite"):
        frame.where("1 = 0").write.mode("overwrite").parquet(f"{m}/empty_false")
    with step("sorted", reads=read, writes=[(f"{m}/sorted", [])], mode="overwrite"):
        frame.orderBy("sku").write.mode("overwrite").parquet(f"{m}/sorted")
    with step("ignored", reads=read, writes=[], mode="ignore"):
        frame.coalesce(1).write.mode("ignore").parquet(f"{m}/sorted")
    try:
        with step("exists", reads=read, writes=[(f"{m}/sorted", [])], mode="errorifexists"):
            frame.coalesce(1).write.parquet(f"{m}/sorted")
    except Exception:
        pass
    with step("bucketed", reads=read, writes=[(f"{LAKE}/warehouse/bucketed", [])], mode="saveAsTable bucketBy"):
        frame.write.mode("overwrite").bucketBy(2, "sku").saveAsTable("bucketed")
    with step("values", writes=[(f"{LAKE}/warehouse/small", [])], mode="CREATE TABLE, INSERT VALUES"):
        spark.sql("CREATE TABLE small (a INT) USING parquet")
        spark.sql("INSERT INTO small VALUES (1), (2)")
    with step("inserted", reads=[(f"{LAKE}/warehouse/small", [])], writes=[(f"{LAKE}/warehouse/small_b", [])], mode="CREATE TABLE LIKE, INSERT"):
        spark.sql("CREATE TABLE small_b LIKE small")
        spark.sql("INSERT INTO small_b SELECT a FROM small WHERE a > 10")
    with step("two_days", reads=[(ORDERS, ["dt=2026-11-01", "dt=2026-11-02"])], writes=[(f"{m}/rdd_two_days", [])], mode="saveAsTextFile"):
        paths = f"{ORDERS}/dt=2026-11-01,{ORDERS}/dt=2026-11-02"
        spark.sparkContext.textFile(paths, 1).coalesce(1).saveAsTextFile(f"{m}/rdd_two_days")


SETTINGS = {
    "daily": {"spark.sql.sources.partitionOverwriteMode": "dynamic"},
    "tables": {"spark.sql.sources.partitionOverwriteMode": "dynamic"},
    "iceberg": {
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "hadoop",
        "spark.sql.catalog.lake.warehouse": f"{LAKE}/iceberg",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    },
}

if __name__ == "__main__":
    job, name, *arguments = sys.argv[1:]
    session = spark_session(name, **{"spark.sql.warehouse.dir": f"{LAKE}/warehouse", **SETTINGS.get(job, {})})
    globals()[job](session, *arguments)
    session.stop()
