"""Draws how savings grow: a Streamlit app in a Docker Space."""

import pandas
import streamlit

streamlit.set_page_config(page_title="Savings", page_icon="🌱")
streamlit.title("How savings grow")

start = streamlit.slider("Put in at the start", 0, 10_000, 1_000, step=100)
monthly = streamlit.slider("Put in every month", 0, 1_000, 50, step=10)
percent = streamlit.slider("Interest in a year, percent", 0.0, 10.0, 3.0, step=0.1)
years = streamlit.slider("Years", 1, 50, 20)

rows, paid, worth = [], float(start), float(start)
for year in range(years + 1):
    rows.append({"year": year, "put in": paid, "worth": worth})
    for _ in range(12):
        worth = worth * (1 + percent / 1200) + monthly
        paid += monthly

table = pandas.DataFrame(rows).set_index("year")
streamlit.line_chart(table)
last = rows[-1]
streamlit.metric(f"After {years} years", f"{last['worth']:,.0f}",
                 f"{last['worth'] - last['put in']:,.0f} of it interest")
with streamlit.expander("The figures"):
    streamlit.dataframe(table.round(0))
