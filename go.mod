module github.com/ollelogdahl/concord

go 1.26.0
