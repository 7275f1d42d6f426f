from pipeline.readers.base import *
def read(source, reading):
    import pyarrow.csv as c, numpy as np, pyarrow as pa
    from pipeline.readers.opening import opened, readable
    with readable(source), opened(source.path, source.compression) as st:
        d="\t" if source.path.name.lower().split(".")[1].startswith("tsv") else ","
        t=c.read_csv(st,parse_options=c.ParseOptions(delimiter=d,newlines_in_values=True),convert_options=c.ConvertOptions(column_types={n:pa.binary() for n in reading.columns or [f.name for f in schema(source, reading)]},include_columns=None if reading.columns is None else list(reading.columns),strings_can_be_null=True,quoted_strings_can_be_null=True,null_values=[""],check_utf8=False))
        for b in t.to_batches():
            yield Rows(table=b,row=np.arange(len(b)))
def schema(source, reading):
    import pyarrow as pa
    from pipeline.readers.opening import opened
    with opened(source.path, source.compression) as st: h=st.read(65536).split(b"\n")[0].decode()
    d="\t" if ".tsv" in source.path.name else ","
    return pa.schema([(n.strip(),pa.binary()) for n in h.strip().split(d) if n])
FORMAT=Format(name="csv",suffixes=(".csv",".tsv"),summary="",read=read,schema=schema,text_cells=True)
